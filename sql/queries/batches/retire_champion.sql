-- Let no model of a recipe be the champion, and make what its workers hold worthless.
update recipes set champion_version = null, epoch = epoch + 1 where recipe = :recipe
