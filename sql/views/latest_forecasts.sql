-- The newest published forecast of each series and period: one run a recipe, never two mixed.
create view latest_forecasts as
select
    runs.recipe,
    series.series,
    forecasts.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    forecasts.method,
    forecasts.reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  )
