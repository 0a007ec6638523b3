-- Rows that were rejected, with the place and the rule; a row that is delivered again is listed once.
create view rejected_observations as
select
    batches.recipe,
    coalesce(rejections.file, batches.source) as source,
    rejections.line,
    rejections.column_name,
    rejections.series,
    rejections.text,
    rejections.rule,
    batches.recorded_at as rejected_at,
    rejections.period
from rejections
join batches on batches.batch_id = rejections.batch_id
