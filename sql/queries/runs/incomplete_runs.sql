-- Runs with another number of rows than declared, or without steps 1 to H for each series.
select runs.run_id, runs.num_rows, count(forecasts.step) as found
from runs
left join forecasts on forecasts.run_number = runs.run_number
where runs.status in ('published', 'superseded')
group by runs.run_id, runs.num_rows, runs.num_series
having count(forecasts.step) <> runs.num_rows
    or count(distinct forecasts.series_id) <> runs.num_series
    or max(forecasts.step) * runs.num_series <> runs.num_rows
