-- The latest instant since when values of a recipe are known, and when its newest batch was recorded.
-- columns: known_at instant, recorded_at instant
select max(coalesce(known_at, recorded_at)) as known_at, max(recorded_at) as recorded_at
from batches
where recipe = :recipe and status = 'accepted'
