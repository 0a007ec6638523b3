"""How far a series' errors are from those of similar series, in units of its forecast intervals; robust against misfits.

Series are grouped by volatility: their mean seasonal change in units of their mean magnitude, in powers of two. The bounds
are fixed, so that no series changes the group of another. Series that are often 0 are a group of their own.

Within a group the typical size of the errors is the centre of the shortest half of the sizes (Rousseeuw 1984, Journal of the
American Statistical Association 79), of about equally short ones that of the smallest errors: up to half of the series may
be anything without moving it. A series whose errors are far from it is a misfit. Its own outcomes widen its own intervals,
and do not count for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import scale_window
from pipeline.forecasting.baselines import recent_values
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: the group of a series whose volatility is not known
NO_GROUP = -99
#: the group of series with a value of 0 in at least a quarter of their periods
INTERMITTENT = 99
_MANY_ZEROS = 0.25
#: lowest and highest group: volatilities from 1/256 to 8
_LOWEST, _HIGHEST = -8, 3
#: standard deviation of the logarithm of a mean magnitude of one error
_LOG_DEVIATION = 0.75
#: a series further from the centre than so many deviations is a misfit: of few origins at 3 times the usual errors
_FAR = 2.5
#: deviation of the logarithms of the sizes between similar series, beside that by chance
_SPREAD = 0.3
#: halves that are up to so many times as wide as the shortest count as equally short
_EQUALLY_SHORT = 2.0
#: times that the centre is moved to the mean of the series near it
_REFINEMENTS = 3
#: the own deviation of a series counts by d² / (d² + this · its variance by chance): small ones are chance, large ones are not
_DOUBT = 3.0
_SERIES_PER_BATCH = 8_192


def volatility_groups(panel: Panel, scale: Array, season: int) -> Indices:
    """The volatility group of each series: the rounded down base-2 logarithm of its change relative to its size, [S].

    Args:
        panel: up to the origin.
        scale: mean absolute seasonal change of each series, [S].
        season: periods in a season.
    """
    num_parts = 1 + len(panel.series) // _SERIES_PER_BATCH
    parts = [
        _size_and_share_of_zeros(recent_values(panel, series, scale_window(season)))
        for series in np.array_split(np.arange(len(panel.series)), num_parts)
    ]
    size, share_of_zeros = np.concatenate(parts, axis=1)
    has_both = (scale > 0) & (size > 0)
    volatility = np.where(has_both, scale, 1.0) / np.where(has_both, size, 1.0)
    group = np.clip(np.floor(np.log2(volatility)), _LOWEST, _HIGHEST).astype(np.int64)
    group = np.where(share_of_zeros >= _MANY_ZEROS, INTERMITTENT, group)
    return np.where(has_both, group, NO_GROUP)


def _size_and_share_of_zeros(values: Array) -> Array:
    """Mean magnitude and share of zeros of values [N, T]: [2, N]."""
    is_observed = ~np.isnan(values)
    count = np.maximum(is_observed.sum(axis=1), 1)
    total = np.where(is_observed, np.abs(values), 0.0).sum(axis=1)
    return np.asarray(np.stack([total, (values == 0).sum(axis=1)]) / count)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesErrors:
    """The typical size of the errors of S series, in units of their forecast intervals."""

    log_size: Array  # [S], of the mean error; NaN where there is none
    num_origins: Array  # [S]

    def are_misfits(self) -> npt.NDArray[np.bool_]:
        """Which series are far from the typical size: [S]."""
        is_far = self._are_beyond(self._centre_of_shortest_half())
        for _ in range(_REFINEMENTS):
            is_far = self._are_beyond(self._mean_size(~is_far))
        return is_far

    def excess(self) -> Array:
        """How many times as large as what still is no misfit the errors of each series are, or how small: [S]."""
        distance = np.nan_to_num(self.log_size - self.typical_size())
        return np.asarray(np.exp(np.sign(distance) * np.maximum(np.abs(distance) - self._limit, 0.0)))

    def typical_size(self) -> float:
        """The mean of the logarithms of the sizes of series that are no misfits: these cannot move it."""
        return self._mean_size(~self.are_misfits())

    def _centre_of_shortest_half(self) -> float:
        ordered = np.sort(self.log_size[np.isfinite(self.log_size)])
        if not len(ordered):
            return 0.0
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        start = int(np.argmax(widths <= _EQUALLY_SHORT * widths.min()))
        return float(ordered[start : start + half].mean())

    @property
    def _limit(self) -> Array:
        return np.asarray(_FAR * np.sqrt(_LOG_DEVIATION**2 / np.maximum(self.num_origins, 1) + _SPREAD**2))

    def _are_beyond(self, centre: float) -> npt.NDArray[np.bool_]:
        return np.asarray(np.abs(np.nan_to_num(self.log_size, nan=centre) - centre) > self._limit)

    def _mean_size(self, is_chosen: npt.NDArray[np.bool_]) -> float:
        sizes = self.log_size[is_chosen & np.isfinite(self.log_size)]
        return float(sizes.mean()) if len(sizes) else 0.0

    def multipliers(self, before: Array, full_weight: float) -> Array:
        """What multiplies the factors of the group for each series: [S].

        Between what it was before and what the series' own errors say. To narrow an interval takes as many origins as
        `full_weight`, because it does harm where it is wrong.

        Args:
            before: multipliers from earlier evidence, [S]; 1 without any.
            full_weight: origins from which on errors that are smaller than the group's count whole.
        """
        difference = np.nan_to_num(self.log_size - self.typical_size() - np.log(before))
        doubt = _DOUBT * _LOG_DEVIATION**2 / np.maximum(self.num_origins, 1)
        trust = np.square(difference) / (np.square(difference) + doubt)
        trust *= np.where(difference < 0, np.minimum(1.0, self.num_origins / full_weight), 1.0)
        return np.asarray(before * np.exp(trust * difference))


def measure_series(index: Indices, origin: npt.NDArray[np.int64], size: Array, weight: Array) -> SeriesErrors:
    """The errors of S series from those of n outcomes.

    Args:
        index: of the series of each outcome, [n], from 0 to S - 1.
        origin: number of its origin, [n].
        size: of its error in units of the interval, [n]; NaN where there is none.
        weight: of the outcome, [n].
    """
    is_known = np.isfinite(size)
    num_series = int(index.max()) + 1 if len(index) else 0
    index, origin, size, weight = index[is_known], origin[is_known], size[is_known], weight[is_known]
    total = np.bincount(index, weight, minlength=num_series)
    mean = np.bincount(index, weight * size, minlength=num_series) / np.where(total > 0, total, np.nan)
    pairs = np.unique(np.stack([index, origin]), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_size = np.where(mean > 0, np.log(mean), np.nan)
    return SeriesErrors(log_size=log_size, num_origins=np.bincount(pairs[0], minlength=num_series).astype(float))
