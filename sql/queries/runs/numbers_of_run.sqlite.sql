-- The numbers of a run by series and step; what was not kept is infinite.
select mean, lower_95, lower_80, median, upper_80, upper_95, coalesce(baseline, 9e999) as baseline
from forecasts
where run_number = :run_number
order by series_id, step
