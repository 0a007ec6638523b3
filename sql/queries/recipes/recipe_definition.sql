-- The newest definition of a recipe that was ever run.
select definition from registered_recipes where recipe = :recipe
