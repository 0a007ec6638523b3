-- The revisions of series after a batch, the last revision of a period last; infinity: withdrawn.
select revisions.series_id, revisions.period, coalesce(revisions.value, 9e999) as value
from json_each(:series_ids) as wanted
cross join revisions on revisions.series_id = wanted.value
where revisions.batch_id <= :batch_id
order by revisions.series_id, revisions.period, revisions.batch_id
