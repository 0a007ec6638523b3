-- Series that have ended: they have observations, but no rows in the newest published forecast.
create view inactive_series as
select
    ended.recipe,
    ended.series,
    ended.last_period,
    runs.origin,
    runs.run_id
from runs
join (
    select
        series.recipe,
        series.series,
        series.series_id,
        (select max(observations.period) from observations where observations.series_id = series.series_id) as last_period
    from series_variables as series
    where series.variable = ''
) as ended on ended.recipe = runs.recipe and ended.last_period < runs.origin
where runs.kind = 'live'
  and runs.status = 'published'
  and runs.origin = (
      select max(newest.origin)
      from runs as newest
      where newest.recipe = runs.recipe and newest.kind = 'live' and newest.status = 'published'
  )
  and not exists (
      select 1
      from run_series
      where run_series.run_number = runs.run_number and run_series.series_id = ended.series_id
  )
