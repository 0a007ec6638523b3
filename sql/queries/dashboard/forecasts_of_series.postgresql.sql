-- Mean and intervals of some series in one run.
select
    forecasts.series_id,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.upper_80,
    forecasts.upper_95
from unnest(cast(:series_ids as bigint[])) as wanted (series_id)
join forecasts on forecasts.run_number = :run_number and forecasts.series_id = wanted.series_id
