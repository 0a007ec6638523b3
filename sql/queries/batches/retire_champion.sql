-- Let no model of a recipe be the champion, and make what its workers hold worthless.
update registered_recipes set champion_version = null, epoch = epoch + 1 where recipe = :recipe
