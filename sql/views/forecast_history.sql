-- Every forecast ever published, superseded ones and backfills included.
create view forecast_history as
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
    runs.run_id,
    runs.kind
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
where runs.status in ('published', 'superseded')
