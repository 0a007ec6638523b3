"""A backtest of two origins that a person can check by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from pipeline.evaluation.rolling_origin import BacktestPlan, Origin, RollingBacktest, collect_forecasts, combine_origins
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel
from tests.support.examples import NOW, small_recipe
from tests.support.panels import panel_of

NAN = float("nan")


def made_of(panel: Panel, mean: list[list[float]]) -> Forecast:
    """A forecast whose quantiles lie 8 and 5 around its mean."""
    return Forecast(
        series=panel.series,
        origin=panel.origin,
        periods=Frequency("MS").after(panel.origin, 3),
        mean=np.array(mean),
        quantiles=np.array(mean)[:, :, None] + np.array([-8.0, -5, 0, 5, 8]),
        method=("lstm",) * len(mean),
        reason=(None,) * len(mean),
        baseline=np.array(mean),
        scale=np.full(len(mean), 2.0),
    )


def origin_of(panel: Panel) -> Origin:
    return Origin(
        origin=panel.origin,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        known="then",
        num_periods=len(panel.grid),
        cutoff=panel.origin,
        epochs=1,
        num_series=len(panel.series),
        num_fallback=0,
        data_hash=panel.data_hash,
    )


def two_origins() -> RollingBacktest:
    """Two origins three months apart; series b begins between them, its last period is not observed yet."""
    a, b = [10.0, 20, 30, 40, 12, 22, 32, 42, 14, 24, 34], [NAN] * 5 + [5.0, 5, 5, 6, 7, NAN]
    whole = panel_of({"a": a, "b": b}, as_of=NOW)
    first, second = whole.until(4), whole.until(7)
    parts = [
        collect_forecasts(origin_of(first), first, made_of(first, [[20, 32, 46]]), small_recipe(), {}),
        collect_forecasts(origin_of(second), second, made_of(second, [[14, 24, 40], [5, 5, 5]]), small_recipe(), {}),
    ]
    return combine_origins(parts, whole, np.array([4, 7]), BacktestPlan(), "fingerprint")
