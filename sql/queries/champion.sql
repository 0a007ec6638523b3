-- The model that publishes, if there is one.
select models.* from recipes
join models on models.recipe = recipes.recipe and models.model_version = recipes.champion_version
where recipes.recipe = :recipe
