"""Pages of the forecast page made of plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.reporting.dashboard import ForecastRun, RecipeCard, RecipePage, SeriesMethod, StepScores
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.period_labels import PeriodLabels

BUILT_AT = datetime(2026, 1, 2, 12, tzinfo=UTC)
DAYS = Frequency("D")
#: mean, lower 95 and 80 %, upper 80 and 95 %, as multiples of the last value
SHAPE = np.array([1.0, 0.7, 0.8, 1.2, 1.3])


def card(name: str = "shops", **values: Any) -> RecipeCard:
    """A recipe with a forecast that is not stale."""
    usual: dict[str, Any] = {
        "recipe": name,
        "origin": "2026-01-01",
        "published_at": BUILT_AT,
        "expected_next_by": datetime(2999, 1, 1, tzinfo=UTC),
        "is_stale": False,
        "num_series": 1,
        "model_version": 1,
        "trained_at": BUILT_AT,
        "skill": 0.25,
    }
    return RecipeCard(**usual | values)


def daily_page(
    histories: Mapping[str, Sequence[float]],
    *,
    horizon: int = 3,
    previous: bool = True,
    methods: Mapping[str, SeriesMethod] | None = None,
    labels: PeriodLabels | None = None,
    unit: str = "",
    has_forecast: bool = True,
    **values: Any,
) -> RecipePage:
    """Daily series that end on 2026-01-01, the newest forecast after it, and the previous one from the day before.

    Args:
        histories: values by series, the last one of the last day; NaN: a gap.
        horizon: of both forecasts.
        previous: whether there is a previous run.
        methods: how some series are forecast; the others by the network.
        labels: how periods are written.
        unit: of the values.
        has_forecast: whether anything is published.
        values: further fields of the page.
    """
    length = max(map(len, histories.values()), default=0)
    last = np.datetime64("2026-01-01", "us")
    history = np.full((len(histories), length), np.nan)
    for s, ofs in enumerate(histories.values()):
        history[s, length - len(ofs) :] = ofs
    periods = last - np.timedelta64(1, "D") * np.arange(length)[::-1]
    found = methods or {}
    series = tuple(found.get(name, SeriesMethod(name=name, num_scored=2, mase=0.5, skill=0.1)) for name in histories)
    shape = (len(histories), horizon)
    usual: dict[str, Any] = {
        "card": card(num_series=len(histories)),
        "labels": labels or PeriodLabels(is_within_day=False),
        "unit": unit,
        "series": series,
        "num_series": len(histories),
        "periods": periods.astype("datetime64[us]"),
        "history": history,
        "newest": _run("newest", last, history, horizon) if has_forecast else None,
        "previous": _run("previous", last - np.timedelta64(1, "D"), history, horizon)
        if previous and has_forecast
        else None,
        "scores": _scores(shape) if has_forecast else None,
        "overall": _scores(shape[1:]) if has_forecast else None,
        "num_scored_runs": 2,
        "scored_since": "2025-12-31",
    }
    return RecipePage(**usual | values)


def _run(run_id: str, origin: np.datetime64, history: npt.NDArray[np.float64], horizon: int) -> ForecastRun:
    last = history[:, -1] if history.size else np.zeros(len(history))
    numbers = np.sort(np.nan_to_num(last)[:, None, None] * SHAPE[[1, 2, 0, 3, 4]], axis=2)[:, :, [2, 0, 1, 3, 4]]
    return ForecastRun(
        run_id=run_id,
        origin=origin,
        published_at=BUILT_AT,
        model_version=1,
        periods=DAYS.after(origin, horizon),
        numbers=np.repeat(numbers, horizon, axis=1),
    )


def _scores(shape: tuple[int, ...]) -> StepScores:
    return StepScores(
        num_scored=np.full(shape, 2),
        mase=np.full(shape, 0.5),
        skill=np.full(shape, 0.1),
        inside_80=np.full(shape, 1.0),
        inside_95=np.full(shape, 1.0),
    )
