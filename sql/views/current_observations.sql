-- The newest value of each series and period; withdrawn values are left out.
create view current_observations as
select
    series.recipe,
    series.series,
    observations.period,
    case when revisions.batch_id is null then observations.value else revisions.value end as value,
    batches.recorded_at,
    period_at(observations.period) as period_at,
    period_local(observations.period) as period_local
from series_variables as series
join observations on observations.series_id = series.series_id
left join revisions
  on revisions.series_id = observations.series_id
 and revisions.period = observations.period
 and revisions.batch_id = (
     select max(newest.batch_id)
     from revisions as newest
     where newest.series_id = observations.series_id and newest.period = observations.period
 )
join batches on batches.batch_id = coalesce(revisions.batch_id, observations.batch_id)
left join registered_recipes as zones on zones.recipe = series.recipe
where series.variable = ''
  and (revisions.batch_id is null or revisions.value is not null)
