-- The errors of each model's backtest by series, beside those of its baseline.
create view backtest_by_series as
select
    series.recipe,
    errors.model_version,
    series.series,
    errors.num_scored,
    errors.mae,
    errors.rmse,
    errors.mase,
    errors.smape,
    errors.baseline,
    errors.baseline_mae,
    errors.baseline_mase,
    1 - errors.mase / nullif(errors.baseline_mase, 0) as skill
from backtest_errors as errors
join series_variables as series on series.series_id = errors.series_id
