-- When the first values of a recipe were recorded; null if there are none.
-- columns: recorded_at instant
select min(recorded_at) as recorded_at from batches
where recipe = :recipe and status = 'accepted' and num_new > 0
