-- The last model trained on data up to an instant, promoted or not; of one kind of training or any.
-- parameters: as_of instant
-- columns: cutoff period, as_of instant, trained_at instant
select * from models
where recipe = :recipe and as_of <= :as_of and training = coalesce(:training, training)
order by as_of desc, model_version desc limit 1
