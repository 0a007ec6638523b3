-- The batch on hold: the newest held one, unless a later batch was accepted.
select batch_id, source, content_hash, state, message, num_read, preview, expectation from batches
where recipe = :recipe and status = 'held'
  and not exists (
      select 1 from batches as later
      where later.recipe = batches.recipe and later.batch_id > batches.batch_id and later.status in ('accepted', 'held')
  )
