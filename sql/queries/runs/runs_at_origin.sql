-- The runs of a recipe at one origin, oldest first.
-- parameters: origin period
-- columns: origin period, as_of instant, expected_next_by instant, recorded_by instant, published_at instant
select * from runs where recipe = :recipe and kind = :kind and origin = :origin order by published_at, run_id
