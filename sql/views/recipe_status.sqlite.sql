-- One row a recipe: what is published, whether it is stale, and how the last attempt went.
create view recipe_status as
select
    registered_recipes.recipe,
    latest.origin as latest_origin,
    latest.published_at,
    latest.expected_next_by,
    case when latest.expected_next_by is null then 1 else strftime('%Y-%m-%d %H:%M:%f', 'now') > substr(latest.expected_next_by, 1, 23) end as is_stale,
    latest.num_series,
    latest.num_fallback,
    latest.model_version,
    julianday('now') - julianday(models.trained_at) as model_age_days,
    command_attempts.started_at as last_attempt_at,
    command_attempts.status as last_attempt_status,
    command_attempts.error as last_error
from registered_recipes
left join runs as latest
  on latest.recipe = registered_recipes.recipe and latest.kind = 'live' and latest.status = 'published'
 and latest.origin = (
     select max(newest.origin)
     from runs as newest
     where newest.recipe = registered_recipes.recipe and newest.kind = 'live' and newest.status = 'published'
 )
left join models on models.recipe = latest.recipe and models.model_version = latest.model_version
left join command_attempts
  on command_attempts.attempt_id = (select max(newest.attempt_id) from command_attempts as newest where newest.recipe = registered_recipes.recipe)
