-- The published live run that consumers see.
-- columns: origin period
select run_id, origin from runs
where recipe = :recipe and kind = 'live' and status = 'published'
order by origin desc
limit 1
