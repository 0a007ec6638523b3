-- The newest observed period of any series of a recipe.
-- columns: period period
select max((
    select max(observations.period) from observations where observations.series_id = series.series_id
)) as period
from series
where series.recipe = :recipe and series.variable = ''
