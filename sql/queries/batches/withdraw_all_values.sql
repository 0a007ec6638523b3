-- Withdraw every value of a recipe that is not withdrawn yet.
insert into revisions (series_id, period, batch_id, value)
select observations.series_id, observations.period, cast(:new_batch_id as bigint), null
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
where series.recipe = :recipe
  and (revisions.batch_id is null or revisions.value is not null)
