-- What was decided about models by training policy and gate, and about batches and histories by people.
create view decisions as
select recipe, decided_at, what, outcome, reason, kind, model_version, cast(null as bigint) as batch_id, as_of
from model_decisions
union all
select batches.recipe, batches.recorded_at, 'batch', 'approved', held.message, 'live', null, held.batch_id, null
from batches
join batches as held on held.batch_id = batches.releases
union all
select recipe, decided_at, 'batch', decision, message, 'live', null, batch_id, null
from batches
where decision is not null
union all
select recipe, recorded_at, 'history', 'reset', null, 'live', null, batch_id, null
from batches
where source = 'reset' and content_hash = ''
