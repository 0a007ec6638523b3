-- Insert a definition of a recipe, once for each fingerprint.
insert into recipe_versions (recipe, fingerprint, definition)
values (:recipe, :fingerprint, :definition)
on conflict (recipe, fingerprint) do nothing
