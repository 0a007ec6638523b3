-- The highest version of a recipe's models; null before the first.
select max(model_version) as model_version from models where recipe = :recipe
