-- Record that forecasts are scored up to an instant only, so that a run made as of then is scored against later values.
-- parameters: as_of instant
update scored set batch_id = coalesce((
    select max(batch_id) from batches where recipe = :recipe and status = 'accepted' and case when :kind = 'live' then recorded_at else coalesce(known_at, recorded_at) end <= :as_of
), 0)
where recipe = :recipe and kind = :kind and batch_id > coalesce((
    select max(batch_id) from batches where recipe = :recipe and status = 'accepted' and case when :kind = 'live' then recorded_at else coalesce(known_at, recorded_at) end <= :as_of
), 0)
