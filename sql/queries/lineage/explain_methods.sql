-- How many series a run forecast by which method, and why.
select method, reason, count(*) as num_series
from run_series
where run_number = :run_number
group by method, reason
order by num_series desc, method, reason
