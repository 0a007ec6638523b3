-- The newest batch that was taken in, by its content.
select content_hash, recorded_at from batches
where recipe = :recipe and status = 'accepted'
order by batch_id desc limit 1
