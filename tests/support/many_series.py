"""Many monthly series with a backtest in which each is forecast worse than the one before it, and their report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import build_backtest_record
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.records.training import TrainingRecord
from pipeline.reporting.report import build_report
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe
from tests.support.training_records import HASH, record_of

SEASON, BASELINE = 12, "seasonal-naive"
#: each period of seasonal naive is wrong by so much
GROWTH = 12.0


@dataclass(frozen=True, kw_only=True)
class TrainedSeries:
    """What a report is built from."""

    recipe: Recipe
    panel: Panel
    record: TrainingRecord
    forecast: Forecast

    def report(self) -> dict[str, bytes]:
        """The files of the report."""
        return build_report(
            self.recipe, self.panel, self.record, self.forecast, model_version=1, model_hash=HASH, verdict=None
        )


def trained_series(names: list[str], *, num_periods: int = 60, horizon: int = 3) -> TrainedSeries:
    """The forecasts of series s are wrong by 1, 2, 3 … in the backtest, so that the last series is the worst.

    A series grows by one a period from 1,000 times its number on, and every second period has 50 more: seasonal naive is
    wrong by 12 everywhere, and the best of the baselines.
    """
    months = np.arange(float(num_periods))
    panel = panel_of({name: 1000 * (s + 1) + months + 50 * (months % 2) for s, name in enumerate(names)})
    ends = np.arange(num_periods - 2 * horizon - 1, num_periods - horizon)
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(names)), ends, indexing="ij"))
    windows = Windows(series, end)
    observed = read_targets(panel, windows, horizon)
    forecast = observed + 1.0 + series[:, None]
    recipe = build_recipe("shops", frequency="MS", season_length=SEASON, horizon=horizon, unit="euros")
    backtest = HoldoutBacktest(
        windows=windows,
        context=read_contexts(panel, windows, 2 * SEASON)[0],
        observed=observed,
        forecast=forecast,
        mase_scale=np.full((len(windows), 1), GROWTH),
        season=SEASON,
        quantiles=forecast[:, :, None] + np.array([-20.0, -2.5, 0.0, 2.5, 20.0]),
    )
    record = record_of(
        panel, tutorial=(), num_series=len(names), backtest=build_backtest_record(backtest, panel, recipe)
    )
    mean = panel.values.reshape(len(names), -1)[:, -1:] + np.arange(1.0, horizon + 1)
    return TrainedSeries(
        recipe=recipe,
        panel=panel,
        record=record,
        forecast=Forecast(
            series=panel.series,
            origin=panel.origin,
            periods=recipe.grid.after(panel.origin, horizon),
            mean=mean,
            quantiles=mean[:, :, None] + np.linspace(-10, 10, len(LEVELS)),
            method=("lstm",) * len(names),
            reason=(None,) * len(names),
            baseline=mean,
            scale=np.ones(len(names)),
        ),
    )
