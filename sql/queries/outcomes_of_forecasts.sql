-- What became of the network's newest forecasts of some series, always the same, as was known at an instant.
select
    scores.run_number,
    scores.step,
    scores.observed,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95
from (
    select run_number
    from runs
    where recipe = :recipe and kind = :kind and status = 'published' and origin < :origin
    order by origin desc
    limit :num_origins
) as newest
cross join (
    select series_id
    from series
    where recipe = :recipe and variable = ''
    order by (series_id * 2654435761) % 4294967296
    limit :num_series
) as sampled
cross join run_series
cross join scores
cross join forecasts
where run_series.run_number = newest.run_number and run_series.series_id = sampled.series_id
  and run_series.method = 'lstm'
  and scores.run_number = newest.run_number and scores.series_id = sampled.series_id
  and forecasts.run_number = scores.run_number and forecasts.series_id = scores.series_id
  and forecasts.step = scores.step
  and scores.as_of = (
      select max(known.as_of)
      from scores as known
      where known.run_number = scores.run_number and known.series_id = scores.series_id and known.step = scores.step
        and known.as_of <= :as_of
  )
order by scores.run_number, scores.series_id, scores.step
