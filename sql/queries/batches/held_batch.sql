-- The batch of a recipe that waits for a person: the newest that is held, if none was taken in since.
select batch_id, source, content_hash, state, message, num_read from batches
where recipe = :recipe and status = 'held'
  and not exists (
      select 1 from batches as later
      where later.recipe = batches.recipe and later.batch_id > batches.batch_id and later.status in ('accepted', 'held')
  )
