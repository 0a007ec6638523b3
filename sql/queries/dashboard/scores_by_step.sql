-- How good the live forecasts since an origin turned out to be by step, over a fixed sample of series.
-- parameters: first_origin period
select
    scores.step,
    count(*) as num_scored,
    avg(abs(coalesce(scores.median_error, scores.error)) / nullif(scores.scale, 0)) as mase,
    1 - avg(case when scores.naive_error is not null and scores.scale > 0
            then abs(coalesce(scores.median_error, scores.error)) / scores.scale end)
        / nullif(avg(case when scores.scale > 0 then abs(scores.naive_error) / scores.scale end), 0) as skill,
    avg(cast(scores.inside_80 as double precision)) as inside_80,
    avg(cast(scores.inside_95 as double precision)) as inside_95
from runs
cross join (
    select series_id
    from series_variables as series
    where recipe = :recipe and variable = ''
    order by (series_id * 2654435761) % 4294967296
    limit :num_series
) as sampled
cross join scores
where scores.run_number = runs.run_number and scores.series_id = sampled.series_id
  and runs.recipe = :recipe and runs.kind = 'live' and runs.status = 'published' and runs.origin >= :first_origin
  and not exists (
      select 1
      from scores as later
      where later.run_number = scores.run_number and later.series_id = scores.series_id and later.step = scores.step
        and later.as_of > scores.as_of
  )
group by scores.step
order by scores.step
