-- First and last period of each series, and its values between in bytes; without revisions.
select
    wanted.value as series_id,
    (
        select period from observations
        where series_id = wanted.value and batch_id <= :batch_id
        order by period limit 1
    ) as first,
    (
        select period from observations
        where series_id = wanted.value and batch_id <= :batch_id
        order by period desc limit 1
    ) as last,
    (
        select packed(value)
        from (
            select value from observations
            where series_id = wanted.value and batch_id <= :batch_id
            order by period
        ) as in_order
    ) as numbers
from json_each(:series_ids) as wanted
