-- The series and the values of a recipe that are not withdrawn, covariates included.
select count(distinct observations.series_id) as num_series, count(*) as num_values
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
