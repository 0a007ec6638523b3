-- How many values were observed up to a batch, and how many were added by later batches.
select
    sum(case when batch_id <= :batch_id then num_new else 0 end) as num_known,
    sum(case when batch_id > :batch_id and (num_new + num_revised > 0
        or exists (select 1 from attributes where attributes.batch_id = batches.batch_id)) then 1 else 0 end) as num_batches,
    sum(case when batch_id > :batch_id then num_new else 0 end) as num_new
from batches
where recipe = :recipe and status = 'accepted'
