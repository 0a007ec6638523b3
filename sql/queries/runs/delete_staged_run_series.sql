-- Delete the series of an interrupted publication.
-- parameters: origin period
delete from run_series where run_number in (
    select run_number from runs where recipe = :recipe and kind = :kind and origin = :origin and status = 'staged'
)
