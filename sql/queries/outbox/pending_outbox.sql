-- Entries that MLflow does not show yet, oldest first.
select outbox_id, recipe, kind, reference, tries, last_error from outbox
where done_at is null and recipe = coalesce(:recipe, recipe)
order by outbox_id
