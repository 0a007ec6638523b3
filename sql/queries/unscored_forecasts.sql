-- Published forecasts of periods that are observed by now, without a score for what was observed.
select
    forecasts.run_number, forecasts.series_id, series.series, forecasts.step, run_steps.period, runs.origin,
    forecasts.mean, forecasts.lower_95, forecasts.lower_80, forecasts.upper_80, forecasts.upper_95,
    observed.value as observed, observed.recorded_at as as_of
from runs
join run_steps on run_steps.run_number = runs.run_number
join forecasts on forecasts.run_number = run_steps.run_number and forecasts.step = run_steps.step
join series on series.series_id = forecasts.series_id
join current_observations as observed
  on observed.recipe = series.recipe and observed.series = series.series and observed.period = run_steps.period
where runs.recipe = :recipe
  and runs.status in ('published', 'superseded')
  and not exists (
      select 1 from scores
      where scores.run_number = forecasts.run_number and scores.series_id = forecasts.series_id
        and scores.step = forecasts.step and scores.as_of = observed.recorded_at
  )
order by forecasts.run_number, series.series, forecasts.step
