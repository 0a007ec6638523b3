-- The newest batch that changed what was known of a recipe at an instant, with its source.
select batch_id, recorded_at, source, content_hash from batches
where recipe = :recipe and status = 'accepted' and num_new + num_revised > 0 and recorded_at <= :as_of
order by recorded_at desc limit 1
