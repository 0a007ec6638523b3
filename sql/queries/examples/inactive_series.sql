-- Series that have ended, the last ones first.
select recipe, series, last_period
from inactive_series
order by recipe, last_period desc, series
