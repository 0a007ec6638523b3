-- The last five published runs, of one recipe or of all.
select run_id from runs
where published_at is not null and recipe = coalesce(:recipe, recipe)
order by published_at desc, run_id
limit 5
