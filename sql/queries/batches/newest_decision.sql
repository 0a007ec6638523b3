-- What a person decided about the newest batch of a recipe.
-- columns: recorded_at instant
select batch_id, content_hash, recorded_at, decision from batches
where recipe = :recipe order by batch_id desc limit 1
