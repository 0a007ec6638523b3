-- Insert a decision unless it repeats the last one, or is to keep the model on no newer data.
-- parameters: as_of instant, decided_at instant
insert into model_decisions (recipe, what, kind, outcome, reason, model_version, as_of, decided_at, facts)
select :recipe, :what, :kind, :outcome, :reason, cast(:model_version as integer), :as_of, :decided_at, :facts
where not exists (
    select 1 from model_decisions as before
    where before.recipe = :recipe and before.what = :what and before.kind = :kind
      and (
          :outcome = 'keep' and before.as_of >= :as_of
          or before.outcome = :outcome and before.reason = :reason
            and coalesce(before.model_version, 0) = coalesce(cast(:model_version as integer), 0)
            and before.decision_id = (
                select max(decision_id) from model_decisions where recipe = :recipe and what = :what and kind = :kind
            )
      )
)
