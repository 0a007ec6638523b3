-- Delete the steps of an interrupted publication.
-- parameters: origin period
delete from run_steps where run_number in (
    select run_number from runs where recipe = :recipe and kind = :kind and origin = :origin and status = 'staged'
)
