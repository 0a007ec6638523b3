-- Errors of a model's forecasts by origin as of an instant, of the steps up to the next origin.
-- The series are those of outcomes_of_forecasts.sql; a view takes no parameters, so both choose them in the same way.
-- parameters: as_of instant
-- columns: origin period
select
    outcomes.origin,
    avg(outcomes.error / outcomes.scale) as bias,
    avg(abs(outcomes.median_error) / outcomes.scale) as error,
    avg(abs(outcomes.naive_error) / outcomes.scale) as naive_error,
    avg(cast(outcomes.inside_80 as double precision)) as inside_80
from (
    select
        newest.origin,
        scores.error,
        coalesce(scores.median_error, scores.error) as median_error,
        scores.naive_error,
        scores.scale,
        scores.inside_80,
        row_number() over (
            partition by scores.run_number, scores.series_id, scores.step order by scores.as_of desc
        ) as newest_first
    from (
        select
            latest.run_number,
            latest.model_version,
            latest.origin,
            lead(latest.origin) over (order by latest.origin) as next
        from (
            select run_number, model_version, origin
            from runs
            where recipe = :recipe and kind = :kind and status = 'published'
            order by origin desc
            limit :num_origins
        ) as latest
    ) as newest
    cross join (
        select series_id
        from series_variables as series
        where recipe = :recipe and variable = ''
        order by (series_id * 2654435761) % 4294967296
        limit :num_series
    ) as sampled
    cross join run_series
    cross join run_steps
    cross join scores
    where newest.model_version = :model_version
      and run_series.run_number = newest.run_number and run_series.series_id = sampled.series_id
      and (run_series.method = 'lstm' or run_steps.step <= run_series.network_steps)
      and run_steps.run_number = newest.run_number and (newest.next is null or run_steps.period <= newest.next)
      and scores.run_number = newest.run_number and scores.series_id = sampled.series_id
      and scores.step = run_steps.step
      and scores.as_of <= :as_of
      and scores.scale > 0
) as outcomes
where outcomes.newest_first = 1
group by outcomes.origin
order by outcomes.origin
