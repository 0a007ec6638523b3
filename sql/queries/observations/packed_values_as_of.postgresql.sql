-- First and last period of each series, and its values between in bytes, big end first; without revisions.
select series_id, min(period) as first, max(period) as last, string_agg(float8send(value), '') as numbers
from (
    select series_id, period, value
    from observations
    where series_id = any(cast(:series_ids as bigint[])) and batch_id <= cast(:batch_id as bigint)
    order by series_id, period
) as in_order
group by series_id
