-- One model.
-- columns: cutoff period, as_of instant, trained_at instant
select * from models where recipe = :recipe and model_version = :model_version
