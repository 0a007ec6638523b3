-- Compare and set: change the champion, unless it was changed since the fencing token was read.
update registered_recipes set champion_version = :model_version, epoch = epoch + 1
where recipe = :recipe and epoch = :fencing_token
