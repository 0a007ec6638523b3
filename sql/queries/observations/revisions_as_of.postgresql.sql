-- The revisions of series after a batch, the last revision of a period last; infinity: withdrawn.
select
    series_id,
    array_agg(period order by batch_id) as periods,
    array_agg(coalesce(value, 'Infinity') order by batch_id) as numbers
from revisions
where series_id = any(cast(:series_ids as bigint[])) and batch_id <= cast(:batch_id as bigint)
group by series_id
