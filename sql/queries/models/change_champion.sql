-- Compare and set: only who saw the present epoch may change the champion.
update recipes set champion_version = :model_version, epoch = epoch + 1
where recipe = :recipe and epoch = :epoch
