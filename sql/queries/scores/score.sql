-- Score the forecasts of a run that values tell of which came after one batch, up to another.
-- parameters: first_period period, last_period period
insert into scores (run_number, series_id, step, as_of, observed, error, naive_error, scale, inside_80, inside_95)
select
    forecasts.run_number,
    forecasts.series_id,
    forecasts.step,
    batches.recorded_at,
    told.value,
    forecasts.mean - told.value,
    forecasts.baseline - told.value,
    told.scale,
    case when told.value between forecasts.lower_80 and forecasts.upper_80 then 1 else 0 end,
    case when told.value between forecasts.lower_95 and forecasts.upper_95 then 1 else 0 end
from (
    select
        run_series.run_number,
        run_series.series_id,
        run_series.scale,
        run_steps.step,
        coalesce(revisions.value, observations.value) as value,
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
) as told
join forecasts
  on forecasts.run_number = told.run_number and forecasts.series_id = told.series_id and forecasts.step = told.step
join batches on batches.batch_id = told.batch_id
where told.batch_id > :since
on conflict (run_number, series_id, step, as_of) do nothing
