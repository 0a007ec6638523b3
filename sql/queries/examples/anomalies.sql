-- What was unlike its forecast in the newest 90 periods of each series: 90 days of a daily one.
with counted as (
    select recipe, series, period, row_number() over (partition by recipe, series order by period desc) as periods_ago
    from current_observations
)
select anomalies.recipe, anomalies.series, anomalies.period, anomalies.value, anomalies.lower_95, anomalies.upper_95
from anomalies
join counted
  on counted.recipe = anomalies.recipe and counted.series = anomalies.series and counted.period = anomalies.period
where counted.periods_ago <= 90
order by anomalies.recipe, anomalies.series, anomalies.period
