-- Hold the recipe's row until the end of the transaction; its epoch and champion.
update recipes set epoch = epoch where recipe = :recipe
returning epoch, champion_version
