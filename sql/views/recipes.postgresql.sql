-- What each recipe forecasts, as it was last run.
create view recipes as
select
    recipe,
    nullif(cast(definition as jsonb) #>> '{description}', '') as description,
    nullif(cast(definition as jsonb) #>> '{unit}', '') as unit,
    cast(definition as jsonb) #>> '{frequency}' as frequency,
    cast(definition as jsonb) #>> '{calendar}' as calendar,
    zone,
    season_length,
    cast(cast(definition as jsonb) #>> '{horizon}' as integer) as horizon,
    cast(definition as jsonb) #>> '{source,kind}' as source_kind,
    cast(definition as jsonb) #>> '{model,architecture}' as architecture,
    cast(definition as jsonb) #>> '{training,policy}' as training_policy,
    cast(definition as jsonb) #>> '{gate,baseline}' as baseline,
    cast(cast(definition as jsonb) #>> '{publish,minimum}' as double precision) as minimum,
    cast(cast(definition as jsonb) #>> '{publish,maximum}' as double precision) as maximum,
    champion_version as model_version,
    fingerprint
from registered_recipes
