-- How good the live forecasts of some series since an origin turned out to be, by series and step.
-- parameters: first_origin period
select
    scores.series_id,
    scores.step,
    count(*) as num_scored,
    avg(abs(coalesce(scores.median_error, scores.error)) / nullif(scores.scale, 0)) as mase,
    1 - avg(case when scores.naive_error is not null then abs(coalesce(scores.median_error, scores.error)) end)
        / nullif(avg(abs(scores.naive_error)), 0) as skill,
    avg(cast(scores.inside_80 as double precision)) as inside_80,
    avg(cast(scores.inside_95 as double precision)) as inside_95
from runs
cross join json_each(:series_ids) as wanted
cross join scores on scores.run_number = runs.run_number and scores.series_id = wanted.value
where runs.recipe = :recipe and runs.kind = 'live' and runs.status = 'published' and runs.origin >= :first_origin
  and not exists (
      select 1
      from scores as later
      where later.run_number = scores.run_number and later.series_id = scores.series_id and later.step = scores.step
        and later.as_of > scores.as_of
  )
group by scores.series_id, scores.step
