"""Forecast metrics, each implemented once: a mean over the forecasts of a method, or over some of their axes.

Absolute errors (MAE, MASE, sMAPE) judge the median, squared errors and bias the mean: each is judged by the number that it
is best by (Gneiting 2011, Journal of the American Statistical Association 106).

NaN in the observed values or in the forecast leaves an entry out. A metric is NaN where nothing is left to measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.forecast import LEVELS, LOWER_80, LOWER_95, UPPER_80, UPPER_95

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSet:
    """The forecasts of one method next to the observed values, with the units of scaled errors.

    The leading axes are the caller's: windows [N], or origins and series [O, S].
    """

    observed: Array  # [..., H]
    mean: Array  # [..., H]
    quantiles: Array  # [..., H, Q], NaN where the method gives none
    #: unit of scaled errors: mean absolute seasonal difference up to the origin; not above 0: there are no scaled errors
    scale: Array  # [..., 1]
    #: unit of RMSSE: root mean squared seasonal difference up to the origin
    root_scale: Array  # [..., 1], NaN where it is not known
    #: what absolute errors judge, NaN where the method gives none; None: the mean
    median: Array | None = None  # [..., H]

    @property
    def point(self) -> Array:
        """The median, or the mean where there is none: what has the least absolute error in expectation, [..., H]."""
        return self.mean if self.median is None else np.where(np.isnan(self.median), self.mean, self.median)

    @classmethod
    def of_points(cls, observed: Array, mean: Array, scale: Array | float = np.nan) -> EvaluationSet:
        """Forecasts without quantiles.

        Args:
            observed: [..., H].
            mean: forecasts, [..., H].
            scale: of scaled errors, [..., 1], or one number for all.
        """
        return cls(
            observed=observed,
            mean=mean,
            quantiles=np.broadcast_to(np.nan, (*observed.shape, len(LEVELS))),
            scale=np.broadcast_to(scale, (*observed.shape[:-1], 1)),
            root_scale=np.broadcast_to(np.nan, (*observed.shape[:-1], 1)),
        )

    def take(self, rows: npt.NDArray[Any]) -> EvaluationSet:
        """Select entries of the first axis."""
        return EvaluationSet(
            observed=self.observed[rows],
            mean=self.mean[rows],
            quantiles=self.quantiles[rows],
            scale=self.scale[rows],
            root_scale=self.root_scale[rows],
            median=None if self.median is None else self.median[rows],
        )


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean over the entries of an evaluation set, weighted or not, or the root of it."""

    #: the value of each entry, [..., H]
    of_entry: Callable[[EvaluationSet], Array]
    #: divides the sum of the values instead of the number of entries, [..., H]
    weight: Callable[[EvaluationSet], Array] | None = None
    #: whether the root of the mean is the metric
    is_root: bool = False

    def over(self, data: EvaluationSet, axis: tuple[int, ...] | None = None) -> Array:
        """The metric over some axes of [..., H], in the shape of the others; over all axes if none are given.

        NaN where no entry can be measured.
        """
        value = self.of_entry(data)
        weight = np.ones(value.shape) if self.weight is None else self.weight(data)
        is_measured = ~np.isnan(value + weight)
        if axis is None:
            size, total = weight[is_measured].sum(), value[is_measured].sum()
        else:
            size = np.where(is_measured, weight, 0.0).sum(axis=axis)
            total = np.where(is_measured, value, 0.0).sum(axis=axis)
        mean = np.asarray(total / np.where(size > 0, size, np.nan))
        return np.sqrt(mean) if self.is_root else mean


def absolute_error(data: EvaluationSet) -> Array:
    """Absolute errors of the median in units of the series: [..., H]."""
    return np.abs(data.observed - data.point)


def absolute_scaled_error(data: EvaluationSet) -> Array:
    """Absolute errors of the median in units of the scale: [..., H], NaN where the scale is not above 0."""
    return np.abs(data.observed - data.point) / _positive(data.scale)


def _squared_error(data: EvaluationSet) -> Array:
    error: Array = (data.observed - data.mean) ** 2
    return error


def _squared_scaled_error(data: EvaluationSet) -> Array:
    """RMSSE, after a root: Hyndman and Athanasopoulos (2021), Forecasting: principles and practice, 5.8.

    Over several series it is the root of the mean of all squared scaled errors. The M5 competition
    (Makridakis et al. 2022, International Journal of Forecasting 38(4)) scales by one-step differences instead.
    """
    error: Array = ((data.observed - data.mean) / _positive(data.root_scale)) ** 2
    return error


def _symmetric_percentage_error(data: EvaluationSet) -> Array:
    """200 |y - f| / (|y| + |f|), where 0/0 counts as 0."""
    size = np.abs(data.observed) + np.abs(data.point)
    error: Array = 200 * np.abs(data.observed - data.point) / np.where(size == 0, 1, size)
    return error


def _quantile_loss(data: EvaluationSet) -> Array:
    """Twice the pinball loss, averaged over the levels: Koenker and Bassett (1978), Econometrica 46(1).

    Divided by the sum of the observations' magnitudes it is the weighted quantile loss (WQL) of
    Salinas et al. (2020), International Journal of Forecasting 36(3), called ρ-risk there.
    """
    above = data.observed[..., None] - data.quantiles  # [..., H, Q]
    level = np.array(LEVELS)
    loss: Array = 2 * np.maximum(level * above, (level - 1) * above).mean(axis=-1)
    return loss


def _scaled_quantile_loss(data: EvaluationSet) -> Array:
    """SQL: the quantile loss in units of the scale; with the median as the only level it would be MASE.

    Makridakis et al. (2022), International Journal of Forecasting 38(4), without the factor two and scaled by
    one-step differences there.
    """
    return _quantile_loss(data) / _positive(data.scale)


def _magnitude(data: EvaluationSet) -> Array:
    return np.abs(data.observed)


def _is_inside(data: EvaluationSet, lower: int, upper: int) -> Array:
    """1 for an observation inside the interval, bounds included, else 0; NaN where there is none."""
    low, high = data.quantiles[..., lower], data.quantiles[..., upper]
    inside = ((data.observed >= low) & (data.observed <= high)).astype(float)
    return np.where(np.isnan(data.observed + low + high), np.nan, inside)


def _scaled_width(data: EvaluationSet, lower: int, upper: int) -> Array:
    """The width of the interval of each observation, in units of the scale."""
    width = data.quantiles[..., upper] - data.quantiles[..., lower]
    return np.where(np.isnan(data.observed), np.nan, width / _positive(data.scale))


def _interval_score(data: EvaluationSet, lower: int, upper: int) -> Array:
    """The interval score in units of the scale: the width, plus 2/α times what lies outside of the 1 - α interval.

    Gneiting and Raftery (2007), Journal of the American Statistical Association 102(477). Scaled as in
    the M4 competition it is MSIS (Makridakis, Spiliotis and Assimakopoulos 2020).
    """
    low, high = data.quantiles[..., lower], data.quantiles[..., upper]
    outside = np.maximum(low - data.observed, 0) + np.maximum(data.observed - high, 0)
    alpha = 1 - (LEVELS[upper] - LEVELS[lower])
    score: Array = (high - low + 2 / alpha * outside) / _positive(data.scale)
    return score


def _bias(data: EvaluationSet) -> Array:
    return data.mean - data.observed


def _positive(scale: Array) -> Array:
    """The scale; NaN where it is not above 0."""
    return np.where(scale > 0, scale, np.nan)


#: root mean squared error, in units of the series
RMSE = Metric(_squared_error, is_root=True)
#: mean absolute error, in units of the series
MAE = Metric(absolute_error)
#: mean absolute scaled error: Hyndman and Koehler (2006), International Journal of Forecasting 22(4)
MASE = Metric(absolute_scaled_error)
#: symmetric mean absolute percentage error as in the M4 competition, 0 to 200:
#: Makridakis, Spiliotis and Assimakopoulos (2020), International Journal of Forecasting 36(1)
SMAPE = Metric(_symmetric_percentage_error)
#: share of observations inside their 80 % and 95 % interval
COVERAGE_80 = Metric(partial(_is_inside, lower=LOWER_80, upper=UPPER_80))
COVERAGE_95 = Metric(partial(_is_inside, lower=LOWER_95, upper=UPPER_95))

#: the metrics of a rolling-origin backtest, by name; all but coverage, width and bias are better when lower.
#: bias is forecast minus observed, above 0 where the forecasts are too high
METRICS = {
    "mase": MASE,
    "rmsse": Metric(_squared_scaled_error, is_root=True),
    "mae": MAE,
    "smape": SMAPE,
    "wql": Metric(_quantile_loss, weight=_magnitude),
    "sql": Metric(_scaled_quantile_loss),
    "coverage_80": COVERAGE_80,
    "coverage_95": COVERAGE_95,
    "width_80": Metric(partial(_scaled_width, lower=LOWER_80, upper=UPPER_80)),
    "width_95": Metric(partial(_scaled_width, lower=LOWER_95, upper=UPPER_95)),
    "msis_80": Metric(partial(_interval_score, lower=LOWER_80, upper=UPPER_80)),
    "msis_95": Metric(partial(_interval_score, lower=LOWER_95, upper=UPPER_95)),
    "bias": Metric(_bias),
}


def rmse(observed: Array, mean: Array) -> float:
    """`RMSE` of observed values and forecasts of the same shape [..., H]."""
    return float(RMSE.over(EvaluationSet.of_points(observed, mean)))


def seasonal_scale(history: Array, season_length: int) -> float:
    """Mean absolute seasonal difference of one series [T], the unit of MASE; NaN if it has no pair a season apart."""
    changes = np.abs(history[season_length:] - history[:-season_length])
    observed = changes[~np.isnan(changes)]
    return float(observed.mean()) if observed.size else float("nan")
