-- The champion of every recipe that has one.
select recipe, champion_version as model_version from registered_recipes where champion_version is not null order by recipe
