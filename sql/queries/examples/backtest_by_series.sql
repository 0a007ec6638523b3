-- Which series the champion forecasts worse than the baseline, the worst first.
select errors.recipe, errors.series, errors.mase, errors.baseline, errors.baseline_mase, errors.skill
from backtest_by_series as errors
join recipes on recipes.recipe = errors.recipe and recipes.model_version = errors.model_version
where errors.skill < 0
order by errors.recipe, errors.skill, errors.series
