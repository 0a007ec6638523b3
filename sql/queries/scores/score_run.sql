-- Score the forecasts of a run against the values of the batches after one batch, up to another.
-- parameters: first_period period, last_period period
insert into scores (run_number, series_id, step, as_of, observed, error, median_error, naive_error, scale, inside_80, inside_95)
select
    forecasts.run_number,
    forecasts.series_id,
    forecasts.step,
    case when runs.kind = 'live' then batches.recorded_at else coalesce(batches.known_at, batches.recorded_at) end,
    latest.value,
    forecasts.mean - latest.value,
    forecasts.median - latest.value,
    forecasts.baseline - latest.value,
    latest.scale,
    case when latest.value between forecasts.lower_80 and forecasts.upper_80 then 1 else 0 end,
    case when latest.value between forecasts.lower_95 and forecasts.upper_95 then 1 else 0 end
from (
    select
        run_series.run_number,
        run_series.series_id,
        run_series.scale,
        run_steps.step,
        case when revisions.batch_id is null then observations.value else revisions.value end as value,
        coalesce(revisions.batch_id, observations.batch_id) as batch_id
    from run_steps
    join run_series on run_series.run_number = run_steps.run_number
    join observations
      on observations.series_id = run_series.series_id
     and observations.period = run_steps.period
     and observations.batch_id <= :through
    left join revisions
      on revisions.series_id = observations.series_id
     and revisions.period = observations.period
     and revisions.batch_id = (
         select max(newest.batch_id)
         from revisions as newest
         where newest.series_id = observations.series_id and newest.period = observations.period
           and newest.batch_id <= :through
     )
    where run_steps.run_number = :run_number and run_steps.period between :first_period and :last_period
) as latest
join forecasts
  on forecasts.run_number = latest.run_number and forecasts.series_id = latest.series_id and forecasts.step = latest.step
join batches on batches.batch_id = latest.batch_id
join runs on runs.run_number = latest.run_number
where latest.batch_id > :since and latest.value is not null
on conflict (run_number, series_id, step, as_of) do nothing
