-- How it went.
update attempts set finished_at = :finished_at, status = :status, error = :error where attempt_id = :attempt_id
