-- The newest batches of a recipe that were refused, put on hold, or decided by a person, the newest first.
-- columns: recorded_at instant
select batch_id, source, recorded_at, status, decision, message, releases, num_new, num_revised
from batches
where recipe = :recipe and (status <> 'accepted' or decision is not null or releases is not null or source = 'reset')
order by recorded_at desc, batch_id desc
limit :most
