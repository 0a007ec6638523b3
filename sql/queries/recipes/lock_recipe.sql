-- Lock the recipe's row until the end of the transaction; the fencing token and the version of its champion.
update registered_recipes set epoch = epoch where recipe = :recipe
returning epoch, champion_version
