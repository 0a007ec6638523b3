-- How many series of a run were forecast by each method, and why.
select method, reason, count(*) as num_series
from run_series
where run_number = :run_number
group by method, reason
order by num_series desc, method, reason
