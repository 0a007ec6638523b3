-- Delete the forecasts of an interrupted publication.
-- parameters: origin period
delete from forecasts where run_number in (
    select run_number from runs where recipe = :recipe and kind = :kind and origin = :origin and status = 'staged'
)
