-- Every forecast ever published, superseded ones and backfills included.
create view forecast_history as
select
    runs.recipe,
    series.series,
    run_steps.period,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95,
    case when forecasts.step <= run_series.network_steps then 'lstm' else run_series.method end as method,
    case when forecasts.step <= run_series.network_steps then null else run_series.reason end as reason,
    runs.model_version,
    runs.origin,
    runs.as_of,
    runs.published_at,
    runs.run_id,
    runs.kind,
    period_at(run_steps.period) as period_at,
    period_local(run_steps.period) as period_local
from runs
in_order join series_variables as series on series.recipe = runs.recipe and series.variable = ''
in_order join run_series on run_series.run_number = runs.run_number and run_series.series_id = series.series_id
in_order join forecasts
  on forecasts.run_number = run_series.run_number and forecasts.series_id = run_series.series_id
in_order join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.status in ('published', 'superseded')
