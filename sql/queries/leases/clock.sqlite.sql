-- The time of the database's clock.
-- columns: now_at instant
select strftime('%Y-%m-%d %H:%M:%f', 'now') || '000+00:00' as now_at
