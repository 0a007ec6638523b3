-- Insert the comparison by series of a model's backtest.
insert into backtest_comparisons (recipe, model_version, comparison) values (:recipe, :model_version, :comparison)
