-- How the forecasts of a model turned out, on average over some series, always the same, by origin, as was known at an
-- instant: of each origin the steps up to the next one, for which nothing newer was said.
select
    newest.origin,
    avg(scores.error / scores.scale) as bias,
    avg(abs(scores.error) / scores.scale) as error,
    avg(abs(scores.naive_error) / scores.scale) as naive_error,
    avg(cast(scores.inside_80 as double precision)) as inside_80
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
    from series
    where recipe = :recipe and variable = ''
    order by (series_id * 2654435761) % 4294967296
    limit :num_series
) as sampled
cross join run_series
cross join run_steps
cross join scores
where newest.model_version = :model_version
  and run_series.run_number = newest.run_number and run_series.series_id = sampled.series_id
  and run_series.method = 'lstm'
  and run_steps.run_number = newest.run_number and (newest.next is null or run_steps.period <= newest.next)
  and scores.run_number = newest.run_number and scores.series_id = sampled.series_id and scores.step = run_steps.step
  and scores.scale > 0
  and scores.as_of = (
      select max(known.as_of)
      from scores as known
      where known.run_number = scores.run_number and known.series_id = scores.series_id and known.step = scores.step
        and known.as_of <= :as_of
  )
group by newest.origin
order by newest.origin
