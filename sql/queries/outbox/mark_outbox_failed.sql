-- Record why MLflow does not show an entry yet.
update outbox set tries = tries + 1, last_error = :last_error where outbox_id = :outbox_id
