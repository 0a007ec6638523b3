-- The values of some paths of a series in a run, path by path and step by step.
select packed(value) as numbers
from (
    select value from sample_paths
    where run_number = :run_number and series_id = :series_id and path between :first and :last
    order by path, step
) as in_order
