-- The shortest histories of the series that go on.
select recipe, series, first_period, last_period, num_observations
from series
where is_active
order by recipe, num_observations, series
