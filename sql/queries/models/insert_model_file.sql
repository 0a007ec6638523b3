-- Insert one file of a model.
insert into model_files (recipe, model_version, name, content)
values (:recipe, :model_version, :name, :content)
