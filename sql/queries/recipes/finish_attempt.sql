-- Record how an attempt ended.
-- parameters: finished_at instant
update command_attempts set finished_at = :finished_at, status = :status, error = :error where attempt_id = :attempt_id
