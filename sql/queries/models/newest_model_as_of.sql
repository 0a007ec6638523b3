-- The model that was trained last on what was known at an instant, promoted or not; of all, or of one kind of training.
-- parameters: as_of instant
-- columns: cutoff period, as_of instant, trained_at instant
select * from models
where recipe = :recipe and as_of <= :as_of and training = coalesce(:training, training)
order by as_of desc, model_version desc limit 1
