-- The model that publishes, if there is one.
-- columns: cutoff period, as_of instant, trained_at instant
select models.* from registered_recipes
join models on models.recipe = registered_recipes.recipe and models.model_version = registered_recipes.champion_version
where registered_recipes.recipe = :recipe
