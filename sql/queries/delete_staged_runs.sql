-- The header of an interrupted publication.
delete from runs where recipe = :recipe and kind = :kind and origin = :origin and status = 'staged'
