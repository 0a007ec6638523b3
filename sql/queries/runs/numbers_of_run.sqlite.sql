-- Mean, quantiles and baseline of a run by series and step; infinite: not kept.
select mean, lower_95, lower_80, median, upper_80, upper_95, coalesce(baseline, 9e999) as baseline
from forecasts
where run_number = :run_number
order by series_id, step
