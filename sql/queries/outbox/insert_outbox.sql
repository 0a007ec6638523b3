-- Something for MLflow to follow.
-- parameters: created_at instant
insert into outbox (recipe, kind, reference, created_at) values (:recipe, :kind, :reference, :created_at)
on conflict (recipe, kind, reference) do nothing
