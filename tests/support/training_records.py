"""The milk recipe with its panel, forecast and training record, as the report and MLflow show them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.records.training import (
    BacktestPath,
    BacktestRecord,
    LevelHits,
    OriginPath,
    ProtocolRecord,
    ResidualsRecord,
    TrainingRecord,
)
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]


MONTHS = Frequency("MS")


HASH = "9f2c" * 16


SHARES = (0.0, 0.0, 0.5, 5 / 6, 1.0)


TUTORIAL = {"row": "Milk, stacked LSTM", "published": 17.02, "train": 0.7, "context": 12}


NETWORK = {"architecture": "stacked", "units": 50, "epochs": 5, "batch_size": 32}


def recipe_of(**changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "name": "milk",
        "description": "Monthly milk production",
        "frequency": "MS",
        "horizon": 3,
        "unit": "pounds per cow",
        "source": {"kind": "integers", "count": 48},
        "tutorial": TUTORIAL | NETWORK,
    }
    return Recipe.model_validate(fields | changes)


def milk_panel(values: Array, name: str = "milk") -> Panel:
    """Months from January 1962 on."""
    return panel_of({name: values}, start="1962-01-01")


def monthly(count: int = 48) -> Array:
    month = np.arange(count, dtype=np.float64)
    level: Array = 700 + 1.5 * month + 60 * np.sin(month * np.pi / 6)
    return level + np.random.default_rng(0).normal(0, 5, count)


def forecast_of(panel: Panel, horizon: int = 3, **changes: Any) -> Forecast:
    mean = 800.25 + np.arange(horizon)
    widths = np.array([-20.5, -10.5, 0, 10.5, 20.5])
    fields: dict[str, Any] = {
        "series": panel.series,
        "origin": panel.origin,
        "periods": MONTHS.after(panel.origin, horizon),
        "mean": mean[None],
        "quantiles": (mean[:, None] + widths)[None],
        "method": ("lstm",),
        "reason": (None,),
        "baseline": mean[None],
        "scale": np.ones(1),
    }
    return Forecast(**fields | changes)


def backtest_of(panel: Panel, **changes: Any) -> BacktestRecord:
    periods, observed = panel.grid[-3:], panel.series_values(0)[-3:]
    path = BacktestPath(
        series=panel.series[0],
        periods=tuple(str(period) for period in periods),
        observed=tuple(observed),
        forecast={method: tuple(observed + 4) for method in ("lstm", "naive", "seasonal-naive")},
    )
    scores: dict[str, dict[str, float | None]] = {
        "lstm": {"rmse": 11.327, "mae": 8.451, "mase": 0.7123, "smape": 1.456},
        "naive": {"rmse": 45.119, "mae": 39.875, "mase": 2.9012, "smape": 5.783},
        "seasonal-naive": {"rmse": 14.204, "mae": 12.006, "mase": None, "smape": 1.998},
    }
    fields: dict[str, Any] = {
        "cutoff": str(panel.grid[-4:][0]),
        "num_origins": 7,
        "scores": scores,
        "mae_by_step": {},
        "path": path,
        "skill": 0.2875,
    }
    return BacktestRecord(**fields | changes)


def record_of(panel: Panel, **changes: Any) -> TrainingRecord:
    fields: dict[str, Any] = {
        "training": "retrain",
        "reason": "no model yet",
        "loss": (0.5, 0.3, 0.2),
        "validation_loss": (0.6, 0.4, 0.45, 0.5),
        "epochs": 3,
        "num_windows": 1234,
        "num_series": 1,
        "cutoff": str(panel.origin),
        "backtest": backtest_of(panel),
        "tutorial": (
            ProtocolRecord(protocol="as written", rmse=18.913, naive=44.101, seasonal_naive=13.377, num_test=48),
            ProtocolRecord(protocol="without the leak", rmse=21.6, naive=44.1, seasonal_naive=None, num_test=48),
        ),
    }
    return TrainingRecord(**fields | changes)


def with_details(panel: Panel, **changes: Any) -> TrainingRecord:
    """A record whose backtest has all optional fields, of two origins a horizon apart and one between."""
    periods = [str(period) for period in panel.grid[-6:]]
    bounds = {"lower_95": (1.0,) * 3, "lower_80": (2.0,) * 3, "upper_80": (4.0,) * 3, "upper_95": (5.0,) * 3}
    origins = tuple(
        OriginPath(origin=str(panel.grid[-7 + n]), periods=tuple(periods[n : n + 3]), forecast=(3.0,) * 3, **bounds)
        for n in range(3)
    )
    fields: dict[str, Any] = {
        "num_origins": 3,
        "num_apart": 2,
        "origins": origins,
        "ends": tuple(origin.origin for origin in origins),
        "mase_by_origin": {"lstm": (0.5, 0.7, 1.5), "naive": (1.0, None, 1.2), "seasonal-naive": (0.9, 0.6, 1.0)},
        "hits": tuple(LevelHits(level=level, share=share, num=6) for level, share in zip(LEVELS, SHARES, strict=True)),
        "coverage": {"80": 5 / 6, "95": 1.0},
        "residuals": ResidualsRecord(
            levels=(0.05, 0.25, 0.5, 0.75, 0.95),
            by_step=((-2.0, -1.0, 0.0, 1.0, 2.0),) * 2 + ((None,) * 5,),
            edges=(-2.0, 0.0, 2.0),
            counts=(4, 2),
        ),
    }
    return record_of(panel, backtest=backtest_of(panel, **fields | changes))
