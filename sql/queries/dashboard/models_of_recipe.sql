-- The newest models of a recipe without their records, the newest first, and which one publishes.
-- columns: cutoff period, trained_at instant
select
    models.model_version,
    models.training,
    models.reason,
    models.cutoff,
    models.trained_at,
    models.skill,
    case when recipes.champion_version = models.model_version then 1 else 0 end as is_champion
from models
join registered_recipes as recipes on recipes.recipe = models.recipe
where models.recipe = :recipe
order by models.model_version desc
limit :most
