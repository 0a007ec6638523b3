-- What became of the network's newest forecasts of some series, always the same, as was known at an instant.
-- parameters: as_of instant, origin period
select
    known.run_number,
    known.step,
    known.observed,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95
from (
    select
        scores.run_number,
        scores.series_id,
        scores.step,
        scores.observed,
        row_number() over (
            partition by scores.run_number, scores.series_id, scores.step order by scores.as_of desc
        ) as told_later
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
    where run_series.run_number = newest.run_number and run_series.series_id = sampled.series_id
      and run_series.method = 'lstm'
      and scores.run_number = newest.run_number and scores.series_id = sampled.series_id
      and scores.as_of <= :as_of
) as known
cross join forecasts
where known.told_later = 1
  and forecasts.run_number = known.run_number and forecasts.series_id = known.series_id
  and forecasts.step = known.step
order by known.run_number, known.series_id, known.step
