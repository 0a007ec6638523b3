-- The newest definition of a recipe that was ever run.
select definition from recipes where recipe = :recipe
