-- Observations outside the 95 % interval that was published for them from the last origin before.
create view anomalies as
select
    runs.recipe,
    series.series,
    run_steps.period,
    observed.value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id,
    period_at(run_steps.period) as period_at,
    period_local(run_steps.period) as period_local
from runs
join run_steps on run_steps.run_number = runs.run_number
join forecasts on forecasts.run_number = run_steps.run_number and forecasts.step = run_steps.step
join series_variables as series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = run_steps.period
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and (observed.value < forecasts.lower_95 or observed.value > forecasts.upper_95)
  and not exists (
      select 1
      from runs as nearer
      join run_steps as steps on steps.run_number = nearer.run_number and steps.period = run_steps.period
      join run_series as told on told.run_number = nearer.run_number and told.series_id = forecasts.series_id
      where nearer.recipe = runs.recipe and nearer.kind = 'live' and nearer.status = 'published'
        and nearer.origin > runs.origin
  )
