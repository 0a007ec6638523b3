-- The sample paths of the newest published forecast: one run a recipe, as in latest_forecasts.
create view latest_paths as
select
    runs.recipe,
    series.series,
    sample_paths.path,
    sample_paths.step,
    run_steps.period,
    sample_paths.value,
    runs.origin,
    runs.run_id,
    period_at(run_steps.period) as period_at,
    period_local(run_steps.period) as period_local
from runs
in_order join series_variables as series on series.recipe = runs.recipe and series.variable = ''
in_order join sample_paths on sample_paths.run_number = runs.run_number and sample_paths.series_id = series.series_id
in_order join run_steps on run_steps.run_number = sample_paths.run_number and run_steps.step = sample_paths.step
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  )
