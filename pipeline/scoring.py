"""Published forecasts against later observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.metrics import seasonal_scale
from pipeline.panel import Panel


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One step of a published forecast and what was observed."""

    run_number: int
    series_id: int
    series: str
    step: int
    period: np.datetime64
    origin: np.datetime64
    mean: float
    lower_95: float
    lower_80: float
    upper_80: float
    upper_95: float
    observed: float
    #: when the observation was recorded
    as_of: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How one step turned out. Errors are forecast minus observed."""

    run_number: int
    series_id: int
    step: int
    as_of: datetime
    observed: float
    error: float
    #: of the seasonal naive forecast from the same origin; None where a season before was not observed
    naive_error: float | None
    #: mean absolute seasonal difference over the last seasons up to the origin; None where the history is too short
    scale: float | None
    inside_80: int
    inside_95: int


def scaled_over(season: int) -> int:
    """Periods up to an origin that say how large an error is: a night's cost may not grow with the history."""
    return max(5 * season, 60)


def score(outcomes: Sequence[Outcome], panel: Panel, season: int) -> list[Score]:
    """Score each outcome; `panel` is what is known now, of which only what is at or before an origin is used as history."""
    position = {name: s for s, name in enumerate(panel.series)}
    return [_score(outcome, panel, position[outcome.series], season) for outcome in outcomes]


def _score(outcome: Outcome, panel: Panel, s: int, season: int) -> Score:
    known = int(np.searchsorted(panel.grid, outcome.origin)) - int(panel.first[s]) + 1
    history = panel.of(s)[: max(known, 0)][-scaled_over(season) :]
    lag = season if len(history) > season else 1
    scale = seasonal_scale(history, lag) if len(history) > lag else float("nan")
    back = lag - (outcome.step - 1) % lag
    naive = history[-back] if len(history) >= back else float("nan")
    return Score(
        run_number=outcome.run_number,
        series_id=outcome.series_id,
        step=outcome.step,
        as_of=outcome.as_of,
        observed=outcome.observed,
        error=outcome.mean - outcome.observed,
        naive_error=_known(naive - outcome.observed),
        scale=_known(scale),
        inside_80=int(outcome.lower_80 <= outcome.observed <= outcome.upper_80),
        inside_95=int(outcome.lower_95 <= outcome.observed <= outcome.upper_95),
    )


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
