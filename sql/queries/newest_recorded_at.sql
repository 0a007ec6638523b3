-- When the newest thing was recorded for a recipe; null before the first.
select max(recorded_at) as recorded_at from batches where recipe = :recipe
