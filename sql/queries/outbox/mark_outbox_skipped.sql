-- Record why MLflow will not show an entry.
-- parameters: done_at instant
update outbox set tries = tries + 1, last_error = :last_error, done_at = :done_at where outbox_id = :outbox_id
