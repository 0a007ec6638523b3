-- The series of a run with the lowest id.
select run_series.series_id, series.series
from run_series
join series_variables as series on series.series_id = run_series.series_id
where run_series.run_number = :run_number
order by run_series.series_id
limit 1
