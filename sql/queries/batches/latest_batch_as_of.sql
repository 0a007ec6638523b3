-- The newest batch with new or revised values or attributes at an instant, with its source.
-- parameters: as_of instant
-- columns: recorded_at instant
select batch_id, recorded_at, source, content_hash from batches
where recipe = :recipe and status = 'accepted'
  and (num_new + num_revised > 0 or exists (select 1 from attributes where attributes.batch_id = batches.batch_id))
  and recorded_at <= :as_of
order by recorded_at desc, batch_id desc limit 1
