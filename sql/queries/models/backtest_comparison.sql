-- The comparison by series of one model's backtest.
select comparison from backtest_comparisons where recipe = :recipe and model_version = :model_version
