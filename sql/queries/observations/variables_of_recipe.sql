-- The series of a recipe and their covariates, with their numbers.
select series_id, series, variable from series where recipe = :recipe
