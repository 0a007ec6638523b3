-- The newest decisions about a recipe's models, the newest first.
-- columns: decided_at instant
select what, kind, outcome, reason, model_version, decided_at
from model_decisions
where recipe = :recipe
order by decided_at desc, decision_id desc
limit :most
