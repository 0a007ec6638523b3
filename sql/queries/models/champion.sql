-- The model that publishes, if there is one.
-- columns: cutoff period, as_of instant, trained_at instant
select models.* from recipes
join models on models.recipe = recipes.recipe and models.model_version = recipes.champion_version
where recipes.recipe = :recipe
