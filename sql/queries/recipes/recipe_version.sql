-- A recipe as it was, by its fingerprint.
select definition from recipe_versions where recipe = :recipe and fingerprint = :fingerprint
