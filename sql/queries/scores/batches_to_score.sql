-- The batches up to an instant against which a recipe's forecasts are not scored yet, and the periods they change.
-- parameters: as_of instant
-- columns: first_period period, last_period period
select
    coalesce((select batch_id from scored where recipe = :recipe and kind = :kind), 0) as since,
    max(batch_id) as through,
    min(case when batch_id > coalesce((select batch_id from scored where recipe = :recipe and kind = :kind), 0)
        then first_period end) as first_period,
    max(case when batch_id > coalesce((select batch_id from scored where recipe = :recipe and kind = :kind), 0)
        then last_period end) as last_period
from batches
where recipe = :recipe and status = 'accepted' and case when :kind = 'live' then recorded_at else coalesce(known_at, recorded_at) end <= :as_of
