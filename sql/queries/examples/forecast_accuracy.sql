-- How far off forecasts are from step to step, over all series: skill above 0 is better than the baseline.
select
    recipe,
    model_version,
    step,
    cast(sum(num_scored) as integer) as num_scored,
    sum(num_scored * mae) / sum(num_scored) as mae,
    sum(num_scored * coverage_80) / sum(num_scored) as coverage_80,
    avg(skill) as skill
from forecast_accuracy
group by recipe, model_version, step
order by recipe, model_version, step
