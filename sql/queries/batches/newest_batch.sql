-- The newest batch of a recipe that was taken in.
select max(batch_id) as batch_id from batches where recipe = :recipe and status = 'accepted'
