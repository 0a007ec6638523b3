-- What was observed in the year 2025, and since when each value is known.
select recipe, series, period, value, recorded_at
from current_observations
where period >= '2025-01-01' and period < '2026-01-01'
order by recipe, series, period
