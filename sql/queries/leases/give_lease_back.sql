-- The training is over; nobody has taken the recipe over meanwhile.
-- parameters: now_at instant
update leases set expires_at = :now_at where recipe = :recipe and epoch = :epoch
