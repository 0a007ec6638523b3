-- The newest batch of a recipe, if it was refused or held.
select batch_id, source, content_hash, state, message, num_read, status from batches
where recipe = :recipe and status in ('held', 'refused')
  and batch_id = (select max(batch_id) from batches where recipe = :recipe)
