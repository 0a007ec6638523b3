-- Every model of each recipe: how it was trained, how good it was on the backtest, and when it was the champion.
create view model_history as
select
    models.recipe,
    models.model_version,
    models.training,
    models.reason,
    models.trained_at,
    models.cutoff,
    models.as_of,
    models.skill,
    coalesce(models.model_version = recipes.champion_version, false) as is_champion,
    models.promoted_at,
    case when models.model_version = recipes.champion_version then null else (
        select min(later.decided_at)
        from decisions as later
        where later.recipe = models.recipe and later.kind = 'live' and later.decided_at > models.promoted_at
          and (later.outcome = 'promoted' and later.model_version <> models.model_version or later.outcome = 'reset')
    ) end as replaced_at,
    models.model_hash,
    models.mlflow_run_id,
    models.data_hash,
    models.recipe_fingerprint,
    models.code_version
from (
    select
        models.*,
        (
            select max(promotion.decided_at)
            from model_decisions as promotion
            where promotion.recipe = models.recipe and promotion.model_version = models.model_version
              and promotion.what = 'promotion' and promotion.outcome = 'promoted' and promotion.kind = 'live'
        ) as promoted_at
    from models
) as models
join registered_recipes as recipes on recipes.recipe = models.recipe
