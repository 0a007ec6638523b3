-- The state of every recipe that was ever run.
select * from recipe_status order by recipe
