-- The newest observed period of any series of a recipe, without withdrawn ones.
-- columns: period period
select max((
    select observations.period from observations
    where observations.series_id = series.series_id
      and not exists (
          select 1 from revisions
          where revisions.series_id = observations.series_id and revisions.period = observations.period
            and revisions.value is null
            and revisions.batch_id = (
                select max(newest.batch_id)
                from revisions as newest
                where newest.series_id = observations.series_id and newest.period = observations.period
            )
      )
    order by observations.period desc limit 1
)) as period
from series_variables as series
where series.recipe = :recipe and series.variable = ''
