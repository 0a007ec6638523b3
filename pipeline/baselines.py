"""Baselines: the forecasts that any model has to beat.

Each takes contexts [N, L] without gaps and returns [N, H].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def naive(context: Array, horizon: int) -> Array:
    """The last value, repeated."""
    return np.repeat(context[:, -1:], horizon, axis=1)


def seasonal_naive(context: Array, horizon: int, season: int) -> Array:
    """The value one season before; the last value where the context holds less than a season."""
    if context.shape[1] < season:
        return naive(context, horizon)
    return context[:, -season:][:, np.arange(horizon) % season]


def baseline(name: str, context: Array, *, horizon: int, season: int) -> Array:
    """The baseline that a recipe names: "naive" or "seasonal-naive"."""
    if name == "naive":
        return naive(context, horizon)
    return seasonal_naive(context, horizon, season)
