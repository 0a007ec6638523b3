-- What did not succeed, the newest first.
select recipe, command, started_at, status, error
from attempts
where error is not null
order by started_at desc
