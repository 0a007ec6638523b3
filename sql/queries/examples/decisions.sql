-- What happened to models, batches and histories, the newest first, and why.
select recipe, decided_at, what, outcome, reason, model_version, batch_id
from decisions
order by decided_at desc, what, outcome
