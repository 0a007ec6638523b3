-- The definition that a recipe had with a fingerprint.
select definition from recipe_versions where recipe = :recipe and fingerprint = :fingerprint
