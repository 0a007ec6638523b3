-- The instants since when values of a recipe are known, ascending: between two of them nothing changed.
-- columns: known_at instant
select distinct coalesce(known_at, recorded_at) as known_at from batches
where recipe = :recipe and status = 'accepted'
  and (num_new + num_revised > 0 or exists (select 1 from attributes where attributes.batch_id = batches.batch_id))
order by known_at
