-- What each recipe forecasts, as it was last run.
create view recipes as
select
    recipe,
    nullif(json_extract(definition, '$.description'), '') as description,
    nullif(json_extract(definition, '$.unit'), '') as unit,
    json_extract(definition, '$.frequency') as frequency,
    json_extract(definition, '$.calendar') as calendar,
    zone,
    season_length,
    json_extract(definition, '$.horizon') as horizon,
    json_extract(definition, '$.source.kind') as source_kind,
    json_extract(definition, '$.model.architecture') as architecture,
    json_extract(definition, '$.training.policy') as training_policy,
    json_extract(definition, '$.gate.baseline') as baseline,
    cast(json_extract(definition, '$.publish.minimum') as real) as minimum,
    cast(json_extract(definition, '$.publish.maximum') as real) as maximum,
    champion_version as model_version,
    fingerprint
from registered_recipes
