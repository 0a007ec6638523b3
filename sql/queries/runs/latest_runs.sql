-- The run behind the latest forecasts of each recipe, with the hash of its computed forecast.
select distinct runs.run_id, runs.content_hash
from runs
join latest_forecasts on latest_forecasts.run_id = runs.run_id
