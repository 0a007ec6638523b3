-- Entries that MLflow refuses and that are not sent again, oldest first.
select outbox_id, recipe, kind, reference, tries, last_error from outbox
where done_at is not null and last_error is not null
order by outbox_id
