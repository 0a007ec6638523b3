-- The accepted batches with new or revised values or attributes, ascending, and when they were known and recorded.
-- columns: known_at instant, recorded_at instant
select batch_id, coalesce(known_at, recorded_at) as known_at, recorded_at
from batches
where recipe = :recipe and status = 'accepted'
  and (num_new + num_revised > 0 or exists (select 1 from attributes where attributes.batch_id = batches.batch_id))
order by batch_id
