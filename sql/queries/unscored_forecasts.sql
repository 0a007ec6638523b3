-- Published forecasts of periods that are observed by now, without a score for what was observed.
select
    forecasts.run_id, forecasts.series_id, series.series, forecasts.step, forecasts.period, runs.origin,
    forecasts.mean, forecasts.lower_95, forecasts.lower_80, forecasts.upper_80, forecasts.upper_95,
    observed.value as observed, observed.recorded_at as as_of
from runs
join forecasts on forecasts.run_id = runs.run_id
join series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = forecasts.period
where runs.recipe = :recipe
  and runs.status in ('published', 'superseded')
  and not exists (
      select 1 from scores
      where scores.run_id = forecasts.run_id and scores.series_id = forecasts.series_id
        and scores.step = forecasts.step and scores.as_of = observed.recorded_at
  )
order by forecasts.run_id, series.series, forecasts.step
