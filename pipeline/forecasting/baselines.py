"""Baselines: the forecasts that every model has to beat, and that stand in where a network's cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import scale_window
from pipeline.timeseries.forecast import NORMAL_SCORES
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: so few errors that are all 0 do not show that a series never changes
_FEW_ERRORS = 4
#: series that are forecast at a time, so that memory does not grow with their number
_SERIES_PER_BATCH = 8_192


def naive(context: Array, horizon: int) -> Array:
    """The last value, repeated: contexts [N, L] that end with a value to forecasts [N, H]."""
    return np.repeat(context[:, -1:], horizon, axis=1)


def seasonal_naive(context: Array, horizon: int, season: int) -> Array:
    """The newest value of the same place in the season: contexts [N, L], NaN in gaps, to forecasts [N, H].

    A context that lacks a place of the season gives the last value, which is not a gap.
    """
    latest, _ = _latest_season(context, season)  # [N, season]
    is_whole = ~np.isnan(latest).any(axis=1, keepdims=True)
    return np.where(is_whole, latest[:, np.arange(horizon) % season], naive(context, horizon))


def drift(context: Array, horizon: int) -> Array:
    """The line through the first and the last value, prolonged: contexts [N, L], NaN in gaps, to forecasts [N, H]."""
    mean, _ = _drift_from(context, horizon)
    return mean


#: the baselines that a model is measured against, the simplest first
BASELINES = ("naive", "seasonal-naive", "drift")


def forecast_baseline(name: str, context: Array, *, horizon: int, season: int) -> Array:
    """The forecasts [N, H] of a baseline from contexts [N, L] with NaN in gaps, which they do not end with.

    Args:
        name: of `BASELINES`.
        context: the last L values up to each origin.
        horizon: H.
        season: periods in a season.
    """
    if name == "seasonal-naive":
        return seasonal_naive(context, horizon, season)
    return naive(context, horizon) if name == "naive" else drift(context, horizon)


def normal_quantiles(mean: Array, deviation: Array) -> Array:
    """Quantiles [S, H, Q] of normal distributions with mean and standard deviation [S, H]."""
    quantiles: Array = mean[:, :, None] + deviation[:, :, None] * NORMAL_SCORES
    return quantiles


def student_quantiles(mean: Array, deviation: Array, num_errors: Indices) -> Array:
    """Quantiles [S, H, Q] of forecasts [S, H] whose deviations [S, H] were measured by so many errors each: [S].

    Few errors say little about their deviation: the scores are those of Student's distribution with as many degrees of
    freedom, by the expansion of its quantiles in 1 / degrees (Abramowitz and Stegun 1964, 26.7.5). Without an error the
    deviation is a guess, whose scores are normal.
    """
    z, per_error = NORMAL_SCORES, 1 / np.maximum(num_errors, 1)[:, None]  # [Q], [S, 1]
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    further = np.stack([term * per_error ** (n + 1) for n, term in enumerate(terms)]).sum(axis=0)  # [S, Q]
    scores = z + np.where(num_errors[:, None] > 0, further, 0.0)
    quantiles: Array = mean[:, :, None] + deviation[:, :, None] * scores[:, None, :]
    return quantiles


def forecast_drift(panel: Panel, horizon: int, season: int) -> tuple[Array, Array]:
    """The drift method: the straight line through the first and the last value of each series, prolonged.

    Hyndman and Athanasopoulos (2021), Forecasting: principles and practice, 5.2 and 5.5. The standard deviation of
    step h is that of the period-to-period changes around the line, times sqrt(h (1 + h / (T - 1))) for a series of
    T periods. Of two values, whose line goes through both, it is the size of their change. The series are those of the
    last `scale_window` periods up to the panel's origin, or of the last value where there is none.

    Returns:
        mean [S, H] and standard deviation [S, H] from the panel's origin on. A series of one value stays at that
        value, with deviation 0.
    """
    parts = []
    for series in _batches(len(panel.series)):
        recent = recent_values(panel, series, scale_window(season))
        is_older = np.isnan(recent).all(axis=1)
        recent[is_older, -1] = panel.values[panel.offsets[series + 1] - 1][is_older]
        parts.append(_drift_from(recent, horizon))
    means, deviations = zip(*parts, strict=True)
    return np.concatenate(means), np.concatenate(deviations)


def _drift_from(recent: Array, horizon: int) -> tuple[Array, Array]:
    """Mean and standard deviation [N, H] of the drift method from recent values [N, W], at least one of each series."""
    is_observed = ~np.isnan(recent)
    rows, length = np.arange(len(recent)), recent.shape[1]
    first, behind = is_observed.argmax(axis=1), is_observed[:, ::-1].argmax(axis=1)
    last = length - 1 - behind
    num_changes = last - first
    slope = (recent[rows, last] - recent[rows, first]) / np.maximum(num_changes, 1)
    around = np.where(num_changes == 1, 0.0, slope)  # the line goes through both values, and says nothing of a third
    size = np.sqrt(_row_means(np.square(np.diff(recent, axis=1) - around[:, None])))
    ahead = behind[:, None] + np.arange(1, horizon + 1)
    growth = ahead * (1 + ahead / np.maximum(num_changes, 1)[:, None])
    return recent[rows, last][:, None] + ahead * slope[:, None], size[:, None] * np.sqrt(growth)


def root_seasonal_scale(panel: Panel, season: int) -> Array:
    """Root mean squared seasonal difference of each series, the unit of RMSSE: [S].

    Over the last `scale_window` periods up to the panel's origin. A series without a seasonal difference there takes
    those from one period to the next; 0 where nothing ever changed.
    """
    parts = []
    for series in _batches(len(panel.series)):
        changes = _Changes.of(recent_values(panel, series, scale_window(season)), season)
        parts.append(np.sqrt(changes.mean_of(np.square)))
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class NaiveForecast:
    """Naive or seasonal naive forecasts of S series from the panel's origin on."""

    mean: Array  # [S, H]
    #: standard deviation of each step: of the past errors, growing like that of a random walk
    deviation: Array  # [S, H]
    #: past errors that the deviation was measured by; 0: there are too few, and it is the size of the last value
    num_errors: Indices  # [S]
    #: mean absolute seasonal difference, the unit of MASE; period to period where a series is too short; 0: no change
    scale: Array  # [S]
    #: "seasonal-naive", "naive", or "last-value" for a series that has no value at the origin
    method: tuple[str, ...]

    @property
    def quantiles(self) -> Array:
        """Quantiles [S, H, Q], the wider the fewer errors the deviation was measured by."""
        return student_quantiles(self.mean, self.deviation, self.num_errors)


def forecast_naive(panel: Panel, horizon: int, season: int) -> NaiveForecast:
    """Forecast every series by the seasonal naive method, or by its last value where that is impossible.

    The seasonal naive method takes the newest value of the same season. It needs as many values as two seasons have
    periods, and a value of each position in the season among the last `scale_window` periods. Scale and deviation are
    of these periods, too.
    """
    num_observed = np.add.reduceat(~np.isnan(panel.values), panel.offsets[:-1])
    batches = [
        _forecast_batch(panel, series, num_observed[series], horizon, season) for series in _batches(len(panel.series))
    ]
    return NaiveForecast(
        mean=np.concatenate([batch.mean for batch in batches]),
        deviation=np.concatenate([batch.deviation for batch in batches]),
        num_errors=np.concatenate([batch.num_errors for batch in batches]),
        scale=np.concatenate([batch.scale for batch in batches]),
        method=tuple(name for batch in batches for name in batch.method),
    )


def _forecast_batch(panel: Panel, series: Indices, num_observed: Indices, horizon: int, season: int) -> NaiveForecast:
    recent = recent_values(panel, series, scale_window(season))  # [N, W]
    latest, seasons_back = _latest_season(recent, season)  # [N, season]
    is_seasonal = (num_observed >= 2 * season) & ~np.isnan(latest).any(axis=1) & (season > 1)
    last = panel.values[panel.offsets[series + 1] - 1]
    behind = _periods_behind(panel)[series]
    step = np.arange(horizon)
    mean = np.where(is_seasonal[:, None], latest[:, step % season], last[:, None])
    # steps of the random walk from the repeated value: in seasons, or in periods
    seasons_ahead = 1 + step // season + seasons_back[:, step % season]
    periods_ahead = 1 + behind[:, None] + step
    ahead = np.where(is_seasonal[:, None], seasons_ahead, periods_ahead)
    changes = _Changes.of(recent, season)
    size, num_errors = _size_of_errors(changes.squared_errors(is_seasonal), last)
    deviation = size[:, None] * np.sqrt(ahead)
    method = np.where(is_seasonal, "seasonal-naive", np.where(behind > 0, "last-value", "naive"))
    return NaiveForecast(mean, deviation, num_errors, changes.mean_of(np.abs), tuple(method.tolist()))


def _size_of_errors(squared: Array, last: Array) -> tuple[Array, Indices]:
    """Root mean squared past errors of each series, and how many it is over: [N] each.

    A few values that happen to be equal do not make the next one certain. Without an error, or where all of fewer than
    `_FEW_ERRORS` are 0, the size is that of the last value, divided by one more than the number of errors, and the
    number is given as 0.

    Args:
        squared: past errors, squared, [N, W]; NaN where there is none.
        last: the last value of each series, [N].
    """
    num_errors = np.asarray((~np.isnan(squared)).sum(axis=1))
    size = np.sqrt(_row_means(squared))
    is_guess = (num_errors < _FEW_ERRORS) & (size == 0)
    return np.where(is_guess, np.abs(last) / (1 + num_errors), size), np.where(is_guess, 0, num_errors)


@dataclass(frozen=True, slots=True)
class _Changes:
    """Differences of the recent values [N, W] of some series; NaN where either value is missing."""

    by_season: Array  # [N, W - season]
    by_period: Array  # [N, W - 1]

    @classmethod
    def of(cls, recent: Array, season: int) -> _Changes:
        by_season, by_period = (recent[:, lag:] - recent[:, :-lag] for lag in (season, 1))
        return cls(by_season, by_period)

    def mean_of(self, size: Callable[[Array], Array]) -> Array:
        """Mean size of the seasonal changes, or of those by period where a series has no seasonal one: [N]."""
        has_no_seasonal = np.isnan(self.by_season).all(axis=1)
        return np.where(has_no_seasonal, _row_means(size(self.by_period)), _row_means(size(self.by_season)))

    def squared_errors(self, is_seasonal: npt.NDArray[np.bool_]) -> Array:
        """Squared past errors of the method that forecasts each series: [N, W - 1]."""
        missing = self.by_period.shape[1] - self.by_season.shape[1]
        by_season = np.pad(self.by_season, ((0, 0), (missing, 0)), constant_values=np.nan)
        return np.where(is_seasonal[:, None], np.square(by_season), np.square(self.by_period))


def _batches(num_series: int) -> Iterator[Indices]:
    """The indices of all series, some at a time."""
    for start in range(0, num_series, _SERIES_PER_BATCH):
        yield np.arange(start, min(start + _SERIES_PER_BATCH, num_series))


def _periods_behind(panel: Panel) -> Indices:
    """Periods from the last value of each series to the panel's origin: [S]."""
    return np.asarray(len(panel.grid) - 1 - panel.last)


def recent_values(panel: Panel, series: Indices, length: int) -> Array:
    """The last `length` periods up to the panel's origin: [N, length], NaN where a series has no value."""
    index = len(panel.grid) - length + np.arange(length) - panel.first[series][:, None]  # within the series
    is_inside = (index >= 0) & (index < panel.lengths[series][:, None])
    flat = np.where(is_inside, panel.offsets[series][:, None] + index, 0)
    return np.where(is_inside, panel.values[flat], np.nan)


def _latest_season(recent: Array, season: int) -> tuple[Array, Indices]:
    """The newest value of each position in the season, and how many seasons before the last one it is: [N, season] each.

    NaN where a position has no value in the recent values [N, W].
    """
    latest = np.full((len(recent), season), np.nan)
    seasons_back = np.zeros(latest.shape, np.int64)
    for back in range(recent.shape[1] // season):
        end = recent.shape[1] - back * season
        is_missing = np.isnan(latest)
        if not is_missing.any():
            break
        latest = np.where(is_missing, recent[:, end - season : end], latest)
        seasons_back = np.where(is_missing, back, seasons_back)
    return latest, seasons_back


def _row_means(values: Array) -> Array:
    """The mean of each row without its NaN: [N]; 0 for a row of NaN."""
    is_observed = ~np.isnan(values)
    mean: Array = np.where(is_observed, values, 0.0).sum(axis=1) / np.maximum(is_observed.sum(axis=1), 1)
    return mean
