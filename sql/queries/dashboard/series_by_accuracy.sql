-- Series of a run by the errors of the live forecasts since an origin: the largest MASE first, series without scores last.
-- parameters: first_origin period
select
    run_series.series_id,
    series.series,
    run_series.method,
    run_series.reason,
    run_series.network_steps,
    scored.num_scored,
    scored.mase,
    scored.skill
from run_series
join series_variables as series on series.series_id = run_series.series_id
left join (
    select
        scores.series_id,
        count(*) as num_scored,
        avg(abs(coalesce(scores.median_error, scores.error)) / nullif(scores.scale, 0)) as mase,
        1 - avg(case when scores.naive_error is not null then abs(coalesce(scores.median_error, scores.error)) end)
            / nullif(avg(abs(scores.naive_error)), 0) as skill
    from runs
    join scores on scores.run_number = runs.run_number
    where runs.recipe = :recipe and runs.kind = 'live' and runs.status = 'published' and runs.origin >= :first_origin
      and not exists (
          select 1
          from scores as later
          where later.run_number = scores.run_number and later.series_id = scores.series_id and later.step = scores.step
            and later.as_of > scores.as_of
      )
    group by scores.series_id
) as scored on scored.series_id = run_series.series_id
where run_series.run_number = :run_number
order by
    case when scored.mase is null then 1 else 0 end,
    scored.mase desc,
    case when scored.skill is null then 1 else 0 end,
    scored.skill,
    series.series_id
limit :most
