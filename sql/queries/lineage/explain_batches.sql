-- What the batches of a recipe brought up to one of them, and after it.
select
    sum(case when batch_id <= :batch_id then num_new else 0 end) as num_known,
    sum(case when batch_id > :batch_id and (num_new + num_revised > 0
        or exists (select 1 from attributes where attributes.batch_id = batches.batch_id)) then 1 else 0 end) as num_batches,
    sum(case when batch_id > :batch_id then num_new else 0 end) as num_new
from batches
where recipe = :recipe and status = 'accepted'
