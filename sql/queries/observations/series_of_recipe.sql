-- The series of a recipe, or one covariate of them, with their ids.
select series_id, series from series_variables where recipe = :recipe and variable = :variable
