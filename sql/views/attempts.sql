-- What ran when, how it ended, and with which error; consecutive attempts with nothing to do are one row.
create view attempts as
select attempt_id, recipe, command, started_at, finished_at, status, error
from command_attempts
