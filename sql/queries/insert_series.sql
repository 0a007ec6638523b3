-- Make a series known; its number is for ever.
insert into series (recipe, series) values (:recipe, :series)
on conflict (recipe, series) do nothing
