-- The time of the database's clock.
-- columns: now_at instant
select clock_timestamp() as now_at
