-- One file of a model's directory, or one that goes with it.
insert into model_files (recipe, model_version, name, content)
values (:recipe, :model_version, :name, :content)
