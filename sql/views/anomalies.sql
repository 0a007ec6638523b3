-- Observations outside the 95 % interval that was published for them from the last origin before.
create view anomalies as
select
    runs.recipe,
    series.series,
    forecasts.period,
    observed.value,
    forecasts.lower_95,
    forecasts.upper_95,
    runs.run_id
from forecasts
join runs on runs.run_id = forecasts.run_id and runs.kind = 'live' and runs.status = 'published'
join series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = forecasts.period
where (observed.value < forecasts.lower_95 or observed.value > forecasts.upper_95)
  and runs.origin = (
      select max(nearest.origin)
      from runs as nearest
      join forecasts as steps on steps.run_id = nearest.run_id
      where nearest.recipe = runs.recipe and nearest.kind = 'live' and nearest.status = 'published'
        and steps.series_id = forecasts.series_id and steps.period = forecasts.period
  )
