-- What the next period of each series brings, with the interval that holds it four times out of five.
select recipe, series, period, mean, lower_80, upper_80, method
from latest_forecasts
where step = 1
order by recipe, series
