-- Which rules refused how many rows, the most frequent first, with the first line of each in its file.
select recipe, source, rule, count(*) as num_rows, min(line) as first_line, max(rejected_at) as last_rejected_at
from rejected_observations
group by recipe, source, rule
order by recipe, num_rows desc, rule
