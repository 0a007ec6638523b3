-- An accepted batch of a recipe, and what was expected before it.
select
    batches.batch_id,
    batches.decision,
    batches.expectation,
    (
        select earlier.expectation from batches as earlier
        where earlier.recipe = batches.recipe and earlier.status = 'accepted' and earlier.expectation is not null
          and earlier.batch_id < batches.batch_id
        order by earlier.batch_id desc limit 1
    ) as expectation_before
from batches
where recipe = :recipe and batch_id = :batch_id and status = 'accepted'
