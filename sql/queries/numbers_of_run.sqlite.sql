-- The numbers of a run by series and step.
select mean, lower_95, lower_80, median, upper_80, upper_95
from forecasts
where run_number = :run_number
order by series_id, step
