-- The series of a recipe with their numbers.
select series_id, series from series where recipe = :recipe order by series
