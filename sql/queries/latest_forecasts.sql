-- The newest published forecast of a recipe.
select * from latest_forecasts
where recipe = :recipe and series = coalesce(:series, series)
order by series, step
