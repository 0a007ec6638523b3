"""Measures of how far forecasts were from what was observed.

Arrays have the same shape, usually [N, H]; entries that are NaN in either are left out. Every
function returns NaN when nothing is left to measure.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def rmse(observed: Array, forecast: Array) -> float:
    """Root mean squared error, in units of the series."""
    return float(np.sqrt(_mean((observed - forecast) ** 2)))


def mae(observed: Array, forecast: Array) -> float:
    """Mean absolute error, in units of the series."""
    return _mean(np.abs(observed - forecast))


def smape(observed: Array, forecast: Array) -> float:
    """Symmetric mean absolute percentage error as in the M4 competition: 0 to 200, 0/0 counts 0.

    Makridakis, Spiliotis and Assimakopoulos (2020), International Journal of Forecasting 36(1).
    """
    size = np.abs(observed) + np.abs(forecast)
    return 200 * _mean(np.abs(observed - forecast) / np.where(size == 0, 1, size))


def mase(observed: Array, forecast: Array, scale: Array | float) -> float:
    """Mean absolute scaled error.

    Hyndman and Koehler (2006), International Journal of Forecasting 22(4): `scale` is the mean
    absolute seasonal difference of the fitting part (`seasonal_scale`). NaN where that is zero.
    """
    usable = np.where(np.asarray(scale) > 0, scale, np.nan)
    return _mean(np.abs(observed - forecast) / usable)


def seasonal_scale(history: Array, season_length: int) -> float:
    """Mean absolute difference from one season before; NaN if the history is not longer than that."""
    return _mean(np.abs(history[season_length:] - history[:-season_length]))


def coverage(observed: Array, lower: Array, upper: Array) -> float:
    """Share of observations inside their interval, bounds included."""
    inside = ((observed >= lower) & (observed <= upper)).astype(float)
    return _mean(np.where(np.isnan(observed + lower + upper), np.nan, inside))


def _mean(values: Array) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
