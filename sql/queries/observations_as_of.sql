-- All values of a recipe as they were known at an instant, by series and period.
select series.series, observations.period, observations.value
from series
join observations on observations.series_id = series.series_id
where series.recipe = :recipe
  and observations.recorded_at = (
      select max(known.recorded_at)
      from observations as known
      where known.series_id = observations.series_id
        and known.period = observations.period
        and known.recorded_at <= :as_of
  )
order by series.series, observations.period
