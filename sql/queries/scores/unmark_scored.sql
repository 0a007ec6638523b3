-- A run that was made from what was known at an instant wants scores for what came since.
-- parameters: as_of instant
update scored set batch_id = coalesce((
    select max(batch_id) from batches where recipe = :recipe and status = 'accepted' and recorded_at <= :as_of
), 0)
where recipe = :recipe and kind = :kind and batch_id > coalesce((
    select max(batch_id) from batches where recipe = :recipe and status = 'accepted' and recorded_at <= :as_of
), 0)
