-- Restore what was known before a batch: a version for each of its values that is still the newest; null withdraws it.
insert into revisions (series_id, period, batch_id, value)
select observations.series_id, observations.period, cast(:new_batch_id as bigint), null
from series_variables as series
join observations on observations.series_id = series.series_id
where series.recipe = :recipe
  and observations.batch_id = :batch_id
  and not exists (
      select 1 from revisions
      where revisions.series_id = observations.series_id and revisions.period = observations.period
  )
union all
select
    revisions.series_id,
    revisions.period,
    cast(:new_batch_id as bigint),
    case when older.batch_id is null then observations.value else older.value end
from series_variables as series
join revisions on revisions.series_id = series.series_id
join observations on observations.series_id = revisions.series_id and observations.period = revisions.period
left join revisions as older
  on older.series_id = revisions.series_id
 and older.period = revisions.period
 and older.batch_id = (
     select max(before.batch_id)
     from revisions as before
     where before.series_id = revisions.series_id and before.period = revisions.period
       and before.batch_id < revisions.batch_id
 )
where series.recipe = :recipe
  and revisions.batch_id = :batch_id
  and not exists (
      select 1 from revisions as later
      where later.series_id = revisions.series_id and later.period = revisions.period
        and later.batch_id > revisions.batch_id
  )
