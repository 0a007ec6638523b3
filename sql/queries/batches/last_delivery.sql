-- What was taken in last, and what the source left for the next time.
-- columns: recorded_at instant
select batch_id, content_hash, state, recorded_at from batches
where recipe = :recipe and status = 'accepted'
order by batch_id desc limit 1
