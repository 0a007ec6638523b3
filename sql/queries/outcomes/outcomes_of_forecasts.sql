-- Observed values and quantiles of the network's newest forecasts as of an instant, for a fixed sample of series.
-- An interval with the baseline's width does not count.
-- parameters: as_of instant, origin period
select
    outcomes.run_number,
    outcomes.series,
    outcomes.volatility_group,
    outcomes.interval_factor,
    outcomes.step,
    outcomes.observed,
    forecasts.lower_95,
    forecasts.lower_80,
    forecasts.median,
    forecasts.upper_80,
    forecasts.upper_95
from (
    select
        scores.run_number,
        scores.series_id,
        sampled.series,
        run_series.volatility_group,
        run_series.interval_factor,
        scores.step,
        scores.observed,
        row_number() over (
            partition by scores.run_number, scores.series_id, scores.step order by scores.as_of desc
        ) as newest_first
    from (
        select run_number
        from runs
        where recipe = :recipe and kind = :kind and status = 'published' and origin < :origin
        order by origin desc
        limit :num_origins
    ) as newest
    cross join (
        select series_id, series
        from series_variables as series
        where recipe = :recipe and variable = ''
        order by (series_id * 2654435761) % 4294967296
        limit :num_series
    ) as sampled
    cross join run_series
    cross join scores
    where run_series.run_number = newest.run_number and run_series.series_id = sampled.series_id
      and (run_series.method = 'lstm' or scores.step <= run_series.network_steps)
      and run_series.has_baseline_width = 0
      and scores.run_number = newest.run_number and scores.series_id = sampled.series_id
      and scores.as_of <= :as_of
) as outcomes
cross join forecasts
where outcomes.newest_first = 1
  and forecasts.run_number = outcomes.run_number and forecasts.series_id = outcomes.series_id
  and forecasts.step = outcomes.step
order by outcomes.run_number, outcomes.series_id, outcomes.step
