-- When the newest observation of a recipe was recorded, as of an instant; null before the first.
select max(recorded_at) as recorded_at from batches
where recipe = :recipe and status = 'accepted' and num_new + num_revised > 0 and recorded_at <= :as_of
