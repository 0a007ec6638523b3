-- Which model published when, and how good it was on its backtest.
select recipe, model_version, training, promoted_at, replaced_at, skill
from model_history
where promoted_at is not null
order by recipe, promoted_at
