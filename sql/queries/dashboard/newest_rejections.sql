-- The newest rejected rows of a recipe.
-- columns: rejected_at instant
select
    coalesce(rejections.file, batches.source) as source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at as rejected_at
from batches
join rejections on rejections.batch_id = batches.batch_id
where batches.recipe = :recipe
order by rejections.rejection_id desc
limit :most
