-- The rows of a recipe that were rejected so far.
-- columns: period period
select rejections.column_name, rejections.series, rejections.period, rejections.text, rejections.rule
from batches
join rejections on rejections.batch_id = batches.batch_id
where batches.recipe = :recipe and rejections.line is not null
