-- Delete the header of an interrupted publication.
-- parameters: origin period
delete from runs where recipe = :recipe and kind = :kind and origin = :origin and status = 'staged'
