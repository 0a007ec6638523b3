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
join run_steps on run_steps.run_number = runs.run_number
join sample_paths on sample_paths.run_number = run_steps.run_number and sample_paths.step = run_steps.step
join series_variables as series on series.series_id = sample_paths.series_id
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  )
