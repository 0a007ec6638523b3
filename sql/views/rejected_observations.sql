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
    rejections.period,
    period_at(rejections.period) as period_at,
    period_local(rejections.period) as period_local
from rejections
join batches on batches.batch_id = rejections.batch_id
left join registered_recipes as zones on zones.recipe = batches.recipe
