-- The newest accepted batch of a recipe at an instant.
-- parameters: as_of instant
select max(batch_id) as batch_id from batches
where recipe = :recipe and status = 'accepted' and recorded_at <= :as_of
