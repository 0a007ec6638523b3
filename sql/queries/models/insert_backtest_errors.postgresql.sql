-- Insert the errors of a model's backtest by series.
insert into backtest_errors
    (series_id, recipe, model_version, num_scored, mae, rmse, mase, smape, baseline, baseline_mae, baseline_mase)
select
    series.series_id, :recipe, cast(:model_version as integer), errors.num_scored, errors.mae, errors.rmse, errors.mase, errors.smape,
    cast(:baseline as text), errors.baseline_mae, errors.baseline_mase
from json_to_recordset(cast(:errors as json)) as errors (
    series text, num_scored integer, mae double precision, rmse double precision, mase double precision,
    smape double precision, baseline_mae double precision, baseline_mase double precision
)
join series_variables as series on series.recipe = :recipe and series.series = errors.series and series.variable = ''
