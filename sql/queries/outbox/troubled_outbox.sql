-- Entries about a model or a run that MLflow does not show, because it refused them or could not be used; oldest first.
select outbox_id, recipe, kind, reference, tries, last_error from outbox
where recipe = :recipe and last_error is not null
  and (reference = :model or reference like :model || ' at %' or reference = :model || ' as ' || :run_id)
order by outbox_id
