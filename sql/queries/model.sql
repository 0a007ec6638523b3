-- One model.
select * from models where recipe = :recipe and model_version = :model_version
