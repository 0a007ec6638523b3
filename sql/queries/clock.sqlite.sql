-- The database's clock.
select strftime('%Y-%m-%d %H:%M:%f', 'now') || '000+00:00' as now_at
