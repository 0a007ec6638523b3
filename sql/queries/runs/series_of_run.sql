-- The series of a run and how each was forecast, in the order of their ids.
select
    run_series.series_id,
    series.series,
    run_series.method,
    run_series.reason,
    run_series.network_steps,
    run_series.scale,
    run_series.interval_factor
from run_series
join series_variables as series on series.series_id = run_series.series_id
where run_series.run_number = :run_number
order by run_series.series_id
