-- Series of a recipe in the order in which they arrived.
select series_id, series from series_variables as series where recipe = :recipe and variable = '' order by series_id limit :most
