-- How good the published forecasts turned out to be, by recipe, model version, series and step.
-- Absolute errors are those of the median, which they judge best; bias is that of the mean.
create view forecast_accuracy as
select
    runs.recipe,
    runs.model_version,
    series.series,
    scores.step,
    count(*) as num_scored,
    avg(abs(coalesce(scores.median_error, scores.error))) as mae,
    avg(abs(coalesce(scores.median_error, scores.error)) / nullif(scores.scale, 0)) as mase,
    avg(case when abs(scores.observed) + abs(scores.observed + coalesce(scores.median_error, scores.error)) = 0 then 0
        else 200 * abs(coalesce(scores.median_error, scores.error))
            / (abs(scores.observed) + abs(scores.observed + coalesce(scores.median_error, scores.error))) end) as smape,
    avg(scores.error) as bias,
    avg(cast(scores.inside_80 as double precision)) as coverage_80,
    avg(cast(scores.inside_95 as double precision)) as coverage_95,
    1 - avg(case when scores.naive_error is not null then abs(coalesce(scores.median_error, scores.error)) end)
        / nullif(avg(abs(scores.naive_error)), 0) as skill
from runs
in_order join series_variables as series on series.recipe = runs.recipe and series.variable = ''
in_order join scores on scores.run_number = runs.run_number and scores.series_id = series.series_id
where runs.kind = 'live'
  and scores.as_of = (
      select max(newest.as_of)
      from scores as newest
      where newest.run_number = scores.run_number and newest.series_id = scores.series_id and newest.step = scores.step
  )
group by runs.recipe, runs.model_version, series.series, scores.step
