-- Who holds a recipe, or held it last.
-- columns: expires_at instant
select epoch, holder, expires_at from leases where recipe = :recipe
