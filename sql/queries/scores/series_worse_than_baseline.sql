-- Series of which nearly all of a model's last published forecasts, one step ahead, were worse than the baseline's.
-- parameters: as_of instant
select series.series, compared.num_scored, compared.num_lost, compared.mae, compared.naive_mae
from (
    select
        scores.series_id,
        count(*) as num_scored,
        sum(case when abs(coalesce(scores.median_error, scores.error)) > abs(scores.naive_error) then 1 else 0 end) as num_lost,
        avg(abs(coalesce(scores.median_error, scores.error))) as mae,
        avg(abs(scores.naive_error)) as naive_mae
    from (
        select run_number
        from runs
        where recipe = :recipe and kind = :kind and model_version = :model_version
          and status in ('published', 'superseded') and as_of <= :as_of
          and origin in (
              select distinct of_model.origin
              from runs as of_model
              where of_model.recipe = :recipe and of_model.kind = :kind and of_model.model_version = :model_version
                and of_model.status in ('published', 'superseded')
                and of_model.as_of <= :as_of
              order by of_model.origin desc
              limit :num_origins
          )
          and not exists (
              select 1
              from runs as later
              where later.recipe = runs.recipe and later.kind = runs.kind and later.origin = runs.origin
                and later.status in ('published', 'superseded') and later.as_of <= :as_of
                and later.run_number > runs.run_number
          )
    ) as recent
    join run_series
      on run_series.run_number = recent.run_number
     and (run_series.method = 'lstm' or run_series.network_steps >= 1)
    join scores
      on scores.run_number = run_series.run_number and scores.series_id = run_series.series_id and scores.step = 1
     and scores.as_of = (
         select max(newest.as_of)
         from scores as newest
         where newest.run_number = scores.run_number and newest.series_id = scores.series_id
           and newest.step = scores.step and newest.as_of <= :as_of
     )
    where scores.naive_error is not null
    group by scores.series_id
) as compared
join series_variables as series on series.series_id = compared.series_id
where compared.num_scored >= :fewest and compared.num_lost * :fewest >= :most_lost * compared.num_scored and compared.mae > compared.naive_mae
order by series.series
