-- When the newest batch of a recipe was recorded; null before the first.
-- columns: recorded_at instant
select max(recorded_at) as recorded_at from batches where recipe = :recipe
