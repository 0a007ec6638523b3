-- Since when something is known of a recipe; null if nothing is.
-- columns: recorded_at instant
select min(recorded_at) as recorded_at from batches
where recipe = :recipe and status = 'accepted' and num_new > 0
