-- Since when the first values of a recipe are known; null if there are none.
-- columns: recorded_at instant
select min(coalesce(known_at, recorded_at)) as recorded_at from batches
where recipe = :recipe and status = 'accepted' and num_new > 0
