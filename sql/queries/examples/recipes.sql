-- What is forecast, in which unit, how far ahead, and by which model.
select recipe, description, unit, frequency, zone, season_length, horizon, model_version
from recipes
order by recipe
