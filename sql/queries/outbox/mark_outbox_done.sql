-- Record that MLflow shows an entry.
-- parameters: done_at instant
update outbox set done_at = :done_at, last_error = null where outbox_id = :outbox_id
