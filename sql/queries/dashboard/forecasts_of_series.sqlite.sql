-- Mean and intervals of some series in one run.
select
    forecasts.series_id,
    forecasts.step,
    forecasts.mean,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.upper_80,
    forecasts.upper_95
from json_each(:series_ids) as wanted
cross join forecasts on forecasts.run_number = :run_number and forecasts.series_id = wanted.value
