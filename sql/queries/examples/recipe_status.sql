-- Which recipes have no fresh forecast, and how their last attempt went.
select recipe, latest_origin, expected_next_by, last_attempt_at, last_attempt_status, last_error
from recipe_status
where is_stale
order by recipe
