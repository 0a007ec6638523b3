-- Make a staged run visible.
-- parameters: published_at instant
update runs set status = 'published', published_at = :published_at where run_id = :run_id
