-- The database's clock.
-- columns: now_at instant
select clock_timestamp() as now_at
