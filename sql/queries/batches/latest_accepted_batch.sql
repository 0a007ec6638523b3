-- The newest accepted batch of a recipe.
select max(batch_id) as batch_id from batches where recipe = :recipe and status = 'accepted'
