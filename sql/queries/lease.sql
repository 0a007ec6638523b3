-- Who holds a recipe, or held it last.
select epoch, holder, expires_at from leases where recipe = :recipe
