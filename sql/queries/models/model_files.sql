-- The files of one model.
select name, content from model_files where recipe = :recipe and model_version = :model_version order by name
