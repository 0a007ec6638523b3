-- How many series of a run were forecast by each method, from which step on, and why.
select method, reason, network_steps, count(*) as num_series
from run_series
where run_number = :run_number
group by method, reason, network_steps
order by num_series desc, method, reason, network_steps
