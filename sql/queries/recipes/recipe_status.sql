-- The state of every recipe that was ever run.
-- columns: latest_origin period, published_at instant, expected_next_by instant, last_attempt_at instant
select * from recipe_status order by recipe
