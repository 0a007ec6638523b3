-- How many paths each series of a run has.
select coalesce(max(path), 0) as num_paths
from sample_paths
where run_number = :run_number
  and series_id = (select min(series_id) from run_series where run_number = :run_number)
