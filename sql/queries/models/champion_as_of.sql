-- The last promoted model among those trained on data up to an instant.
-- parameters: as_of instant
-- columns: cutoff period, as_of instant, trained_at instant
select models.* from decisions
join models on models.recipe = decisions.recipe and models.model_version = decisions.model_version
where decisions.recipe = :recipe and decisions.what = 'promotion' and decisions.outcome = 'promoted'
  and decisions.as_of <= :as_of
order by decisions.as_of desc, decisions.decision_id desc limit 1
