-- The newest accepted batch, and the state that its source left for the next fetch.
-- columns: recorded_at instant
select batch_id, content_hash, state, recorded_at from batches
where recipe = :recipe and status = 'accepted'
order by batch_id desc limit 1
