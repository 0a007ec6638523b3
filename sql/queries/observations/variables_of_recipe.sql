-- The series of a recipe and their covariates, with their ids.
select series_id, series, variable from series_variables where recipe = :recipe
