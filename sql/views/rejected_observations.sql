-- Rows that were refused, with the place and the rule.
create view rejected_observations as
select
    batches.recipe,
    coalesce(rejections.file, batches.source) as source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at as rejected_at
from rejections
join batches on batches.batch_id = rejections.batch_id
