-- The version of the model with this hash.
select model_version from models where recipe = :recipe and model_hash = :model_hash
