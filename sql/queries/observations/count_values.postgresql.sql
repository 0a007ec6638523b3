-- The number of observed periods of series, without withdrawn ones.
select observations.series_id, count(*) as num_values
from observations
where observations.series_id = any(cast(:series_ids as bigint[]))
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
group by observations.series_id
