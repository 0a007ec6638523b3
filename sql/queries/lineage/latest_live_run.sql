-- The published live run that consumers see.
select run_id from runs
where recipe = :recipe and kind = 'live' and status = 'published'
order by origin desc
limit 1
