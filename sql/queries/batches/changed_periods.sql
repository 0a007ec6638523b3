-- The first and the last period of the versions that a batch wrote, and how many these are.
-- columns: first_period period, last_period period
select min(revisions.period) as first_period, max(revisions.period) as last_period, count(*) as num_revised
from series_variables as series
join revisions on revisions.series_id = series.series_id
where series.recipe = :recipe and revisions.batch_id = :batch_id
