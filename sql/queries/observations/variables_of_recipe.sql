-- The series of a recipe and their covariates, with their ids.
select series_id, series, variable from series where recipe = :recipe
