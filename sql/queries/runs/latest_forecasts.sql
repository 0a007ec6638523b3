-- The newest published forecast of a recipe, or so many of its first rows.
-- columns: period period, origin period, as_of instant, published_at instant, period_at instant, period_local period
select * from latest_forecasts
where recipe = :recipe and series = coalesce(:series, series)
order by series, step
limit :most
