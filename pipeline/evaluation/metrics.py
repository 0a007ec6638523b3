"""Measures of how far forecasts were from what was observed.

Arrays have the same shape, usually [N, H]; entries that are NaN in either are left out. Every
function returns NaN when nothing is left to measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

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
    return _mean(_symmetric(observed, forecast))


def mase(observed: Array, forecast: Array, scale: Array | float) -> float:
    """Mean absolute scaled error.

    Hyndman and Koehler (2006), International Journal of Forecasting 22(4): `scale` is the mean
    absolute seasonal difference of the fitting part (`seasonal_scale`). NaN where that is zero.
    """
    return _mean(np.abs(observed - forecast) / _usable(scale))


def seasonal_scale(history: Array, season_length: int) -> float:
    """Mean absolute difference from one season before; NaN if the history is not longer than that."""
    return _mean(np.abs(history[season_length:] - history[:-season_length]))


def coverage(observed: Array, lower: Array, upper: Array) -> float:
    """Share of observations inside their interval, bounds included."""
    return _mean(_inside(observed, lower, upper))


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """Forecasts beside what was then observed, and the size of an error of each series before the origin."""

    observed: Array  # [..., H]
    mean: Array  # [..., H]
    quantiles: Array  # [..., H, Q]
    #: the quantiles' levels, ascending
    levels: tuple[float, ...]
    #: mean absolute seasonal difference up to the origin; where it is 0 there are no scaled errors
    scale: Array  # [..., 1]
    #: the same, root mean squared
    root_scale: Array  # [..., 1]

    def at(self, level: float) -> Array:
        """The quantiles of one level: [..., H]."""
        return self.quantiles[..., self.levels.index(level)]


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean of what the entries of a comparison say, or the ratio of two sums of that."""

    of_entry: Callable[[Compared], Array]
    #: what an entry counts; none: all count the same
    weight: Callable[[Compared], Array] | None = None
    is_root: bool = False

    def over(self, compared: Compared, axis: tuple[int, ...] | None = None) -> Array:
        """The metric over some axes, all of them if none are named; NaN where nothing is left to measure."""
        value = self.of_entry(compared)
        weight = np.ones(value.shape) if self.weight is None else self.weight(compared)
        known = ~np.isnan(value + weight)
        size = np.where(known, weight, 0.0).sum(axis=axis)
        total = np.where(known, value, 0.0).sum(axis=axis)
        measured = np.asarray(total / np.where(size > 0, size, np.nan))
        return np.sqrt(measured) if self.is_root else measured


def _absolute_error(compared: Compared) -> Array:
    """MAE: in units of the series."""
    return np.abs(compared.observed - compared.mean)


def _scaled_error(compared: Compared) -> Array:
    """MASE: Hyndman and Koehler (2006), International Journal of Forecasting 22(4)."""
    return np.abs(compared.observed - compared.mean) / _usable(compared.scale)


def _squared_scaled_error(compared: Compared) -> Array:
    """RMSSE, after a root: Hyndman and Athanasopoulos (2021), Forecasting: principles and practice, 5.8.

    Over several series it is the root of the mean of all squared scaled errors; the M5 competition
    (Makridakis et al. 2022, International Journal of Forecasting 38(4)) scales by one-step differences.
    """
    error: Array = ((compared.observed - compared.mean) / _usable(compared.root_scale)) ** 2
    return error


def _symmetric_error(compared: Compared) -> Array:
    """sMAPE as in the M4 competition: 0 to 200, 0/0 counts 0.

    Makridakis, Spiliotis and Assimakopoulos (2020), International Journal of Forecasting 36(1).
    """
    return _symmetric(compared.observed, compared.mean)


def _quantile_loss(compared: Compared) -> Array:
    """Twice the pinball loss, mean over the levels: Koenker and Bassett (1978), Econometrica 46(1).

    Divided by the sum of the observations' magnitudes it is the weighted quantile loss (WQL) of
    Salinas et al. (2020), International Journal of Forecasting 36(3), there called ρ-risk.
    """
    above = compared.observed[..., None] - compared.quantiles  # [..., H, Q]
    level = np.array(compared.levels)
    loss: Array = 2 * np.maximum(level * above, (level - 1) * above).mean(axis=-1)
    return loss


def _scaled_quantile_loss(compared: Compared) -> Array:
    """SQL: the quantile loss in units of MASE's scale; of the median alone it would be MASE.

    Makridakis et al. (2022), International Journal of Forecasting 38(4), there without the factor two
    and scaled by one-step differences.
    """
    return _quantile_loss(compared) / _usable(compared.scale)


def _magnitude(compared: Compared) -> Array:
    return np.abs(compared.observed)


def _covered(compared: Compared, lower: float, upper: float) -> Array:
    """Coverage: 1 inside the interval, bounds included, else 0."""
    return _inside(compared.observed, compared.at(lower), compared.at(upper))


def _scaled_width(compared: Compared, lower: float, upper: float) -> Array:
    """How wide the interval of what was observed is, in units of MASE's scale."""
    width = compared.at(upper) - compared.at(lower)
    return np.where(np.isnan(compared.observed), np.nan, width / _usable(compared.scale))


def _interval_score(compared: Compared, lower: float, upper: float) -> Array:
    """MSIS: the interval score in units of MASE's scale, width and what lies outside of it.

    Gneiting and Raftery (2007), Journal of the American Statistical Association 102(477), scaled as in
    the M4 competition (Makridakis, Spiliotis and Assimakopoulos 2020).
    """
    low, high = compared.at(lower), compared.at(upper)
    outside = np.maximum(low - compared.observed, 0) + np.maximum(compared.observed - high, 0)
    score: Array = (high - low + 2 / (1 - (upper - lower)) * outside) / _usable(compared.scale)
    return score


def _bias(compared: Compared) -> Array:
    """Bias: forecast minus observed, in units of the series; above 0 where too much was forecast."""
    return compared.mean - compared.observed


_LOWER_80, _UPPER_80, _LOWER_95, _UPPER_95 = 0.1, 0.9, 0.025, 0.975

#: by name; all but coverage, width and bias are better when less
METRICS = {
    "mase": Metric(_scaled_error),
    "rmsse": Metric(_squared_scaled_error, is_root=True),
    "mae": Metric(_absolute_error),
    "smape": Metric(_symmetric_error),
    "wql": Metric(_quantile_loss, weight=_magnitude),
    "sql": Metric(_scaled_quantile_loss),
    "coverage_80": Metric(partial(_covered, lower=_LOWER_80, upper=_UPPER_80)),
    "coverage_95": Metric(partial(_covered, lower=_LOWER_95, upper=_UPPER_95)),
    "width_80": Metric(partial(_scaled_width, lower=_LOWER_80, upper=_UPPER_80)),
    "width_95": Metric(partial(_scaled_width, lower=_LOWER_95, upper=_UPPER_95)),
    "msis_80": Metric(partial(_interval_score, lower=_LOWER_80, upper=_UPPER_80)),
    "msis_95": Metric(partial(_interval_score, lower=_LOWER_95, upper=_UPPER_95)),
    "bias": Metric(_bias),
}


def _usable(scale: Array | float) -> Array:
    return np.where(np.asarray(scale) > 0, scale, np.nan)


def _symmetric(observed: Array, forecast: Array) -> Array:
    size = np.abs(observed) + np.abs(forecast)
    error: Array = 200 * np.abs(observed - forecast) / np.where(size == 0, 1, size)
    return error


def _inside(observed: Array, lower: Array, upper: Array) -> Array:
    inside = ((observed >= lower) & (observed <= upper)).astype(float)
    return np.where(np.isnan(observed + lower + upper), np.nan, inside)


def _mean(values: Array) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
