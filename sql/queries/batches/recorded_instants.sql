-- The instants at which values of a recipe were added or revised, ascending.
-- columns: recorded_at instant
select recorded_at from batches
where recipe = :recipe and status = 'accepted'
  and (num_new + num_revised > 0 or exists (select 1 from attributes where attributes.batch_id = batches.batch_id))
order by recorded_at
