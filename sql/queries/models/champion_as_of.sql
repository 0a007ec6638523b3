-- The last promoted model among those trained on data up to an instant.
-- parameters: as_of instant
-- columns: cutoff period, as_of instant, trained_at instant
select models.* from model_decisions
join models on models.recipe = model_decisions.recipe and models.model_version = model_decisions.model_version
where model_decisions.recipe = :recipe and model_decisions.what = 'promotion' and model_decisions.outcome = 'promoted'
  and model_decisions.as_of <= :as_of
order by model_decisions.as_of desc, model_decisions.decision_id desc limit 1
