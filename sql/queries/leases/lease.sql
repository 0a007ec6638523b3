-- The current lease of a recipe, or its last one.
-- columns: expires_at instant
select epoch, holder, expires_at from leases where recipe = :recipe
