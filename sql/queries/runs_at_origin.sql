-- The runs of a recipe at one origin, oldest first.
select * from runs where recipe = :recipe and kind = :kind and origin = :origin order by published_at, run_id
