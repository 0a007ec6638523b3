-- One run, and the current fingerprint and champion of its recipe.
-- columns: origin period, as_of instant, expected_next_by instant, recorded_by instant, published_at instant
select
    runs.*,
    registered_recipes.fingerprint as present_fingerprint,
    registered_recipes.champion_version
from runs
join registered_recipes on registered_recipes.recipe = runs.recipe
where runs.run_id = :run_id
