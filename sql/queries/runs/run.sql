-- One run.
-- columns: origin period, as_of instant, expected_next_by instant, recorded_by instant, published_at instant
select * from runs where run_id = :run_id
