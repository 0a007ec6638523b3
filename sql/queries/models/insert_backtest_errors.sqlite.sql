-- Insert the errors of a model's backtest by series.
insert into backtest_errors
    (series_id, recipe, model_version, num_scored, mae, rmse, mase, smape, baseline, baseline_mae, baseline_mase)
select
    series.series_id, :recipe, :model_version, json_extract(errors.value, '$.num_scored'), json_extract(errors.value, '$.mae'),
    json_extract(errors.value, '$.rmse'), json_extract(errors.value, '$.mase'), json_extract(errors.value, '$.smape'), :baseline,
    json_extract(errors.value, '$.baseline_mae'), json_extract(errors.value, '$.baseline_mase')
from json_each(:errors) as errors
join series_variables as series
  on series.recipe = :recipe and series.series = json_extract(errors.value, '$.series') and series.variable = ''
