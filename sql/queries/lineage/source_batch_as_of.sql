-- The newest batch with new or revised values or attributes at an instant, and when it was put on hold.
-- parameters: as_of instant
-- columns: recorded_at instant, held_at instant
select
    batches.batch_id,
    batches.source,
    batches.content_hash,
    batches.recorded_at,
    batches.num_new,
    batches.num_revised,
    batches.num_same,
    batches.num_rejected,
    held.recorded_at as held_at
from batches
left join batches as held on held.batch_id = batches.releases
where batches.recipe = :recipe
  and batches.status = 'accepted'
  and (
      batches.num_new + batches.num_revised > 0
      or exists (select 1 from attributes where attributes.batch_id = batches.batch_id)
  )
  and case when :kind = 'live' then batches.recorded_at else coalesce(batches.known_at, batches.recorded_at) end <= :as_of
order by case when :kind = 'live' then batches.recorded_at else coalesce(batches.known_at, batches.recorded_at) end desc, batches.batch_id desc
limit 1
