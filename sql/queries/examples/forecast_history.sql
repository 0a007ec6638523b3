-- How the forecast of the newest observed period changed from origin to origin, beside what was observed.
select
    history.recipe,
    history.series,
    history.period,
    history.origin,
    history.step,
    history.mean,
    observed.value,
    history.mean - observed.value as error
from forecast_history as history
join current_observations as observed
  on observed.recipe = history.recipe and observed.series = history.series and observed.period = history.period
where history.kind = 'live'
  and history.period = (
      select max(newest.period)
      from current_observations as newest
      where newest.recipe = history.recipe and newest.series = history.series
  )
order by history.recipe, history.series, history.origin, history.published_at
