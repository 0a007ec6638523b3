-- End a lease, unless another worker holds it by now.
-- parameters: now_at instant
update leases set expires_at = :now_at where recipe = :recipe and epoch = :fencing_token
