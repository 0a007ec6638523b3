-- Observations outside the 95 % interval that was published for them from the last origin before.
create view anomalies as
select
    runs.recipe,
    series.series,
    run_steps.period,
    case when revisions.batch_id is null then observations.value else revisions.value end as value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id,
    period_at(run_steps.period) as period_at,
    period_local(run_steps.period) as period_local
from runs
in_order join series_variables as series on series.recipe = runs.recipe and series.variable = ''
in_order join forecasts on forecasts.run_number = runs.run_number and forecasts.series_id = series.series_id
in_order join run_steps on run_steps.run_number = forecasts.run_number and run_steps.step = forecasts.step
in_order join observations on observations.series_id = forecasts.series_id and observations.period = run_steps.period
left join revisions
  on revisions.series_id = observations.series_id
 and revisions.period = observations.period
 and revisions.batch_id = (
     select max(newest.batch_id)
     from revisions as newest
     where newest.series_id = observations.series_id and newest.period = observations.period
 )
left join registered_recipes as zones on zones.recipe = runs.recipe
where runs.kind = 'live'
  and runs.status = 'published'
  and case when revisions.batch_id is null then observations.value else revisions.value end
      not between forecasts.lower_95 and forecasts.upper_95
  and not exists (
      select 1
      from runs as nearer
      join run_steps as steps on steps.run_number = nearer.run_number and steps.period = run_steps.period
      join run_series as told on told.run_number = nearer.run_number and told.series_id = forecasts.series_id
      where nearer.recipe = runs.recipe and nearer.kind = 'live' and nearer.status = 'published'
        and nearer.origin > runs.origin
  )
