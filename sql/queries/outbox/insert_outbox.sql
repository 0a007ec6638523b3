-- Insert an entry that is to be shown in MLflow.
-- parameters: created_at instant
insert into outbox (recipe, kind, reference, created_at) values (:recipe, :kind, :reference, :created_at)
on conflict (recipe, kind, reference) do nothing
