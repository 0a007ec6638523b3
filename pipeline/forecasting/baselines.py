"""Baselines: the forecasts that any model has to beat, and that stand in where none can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import scale_window
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: series that are looked at together, so that memory does not grow with their number
_TOGETHER = 8_192
#: quantiles of the normal distribution at the levels of the forecast table
_NORMAL = np.array([-1.959963984540054, -1.2815515655446004, 0.0, 1.2815515655446004, 1.959963984540054])


def naive(context: Array, horizon: int) -> Array:
    """The last value, repeated: [N, L] without gaps to [N, H]."""
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


def normal_quantiles(mean: Array, deviation: Array) -> Array:
    """Of normal distributions with mean and deviation [S, H]: [S, H, Q]."""
    quantiles: Array = mean[:, :, None] + deviation[:, :, None] * _NORMAL
    return quantiles


def drift(panel: Panel, horizon: int) -> tuple[Array, Array]:
    """The straight line from the first to the last value of each series, from the panel's origin on.

    Hyndman and Athanasopoulos (2021), Forecasting: principles and practice, 5.2 and 5.5; the deviation is that of
    the changes from period to period about the line, over the whole history.

    Returns:
        mean [S, H] and standard deviation [S, H]; a series of one value stays there, with deviation 0.
    """
    first, last = panel.values[panel.offsets[:-1]], panel.values[panel.offsets[1:] - 1]
    steps = panel.lengths - 1
    slope = (last - first) / np.maximum(steps, 1)
    changes = np.diff(panel.values, append=np.nan)
    changes[panel.offsets[1:] - 1] = np.nan  # from one series to the next
    errors = np.square(changes - np.repeat(slope, panel.lengths))
    known = ~np.isnan(errors)
    total, count = (
        np.add.reduceat(each, panel.offsets[:-1]) for each in (np.where(known, errors, 0.0), known.astype(np.int64))
    )
    behind = len(panel.grid) - 1 - panel.last
    ahead = behind[:, None] + np.arange(1, horizon + 1)
    growth = ahead * (1 + ahead / np.maximum(steps, 1)[:, None])
    return last[:, None] + ahead * slope[:, None], np.sqrt(total / np.maximum(count, 1))[:, None] * np.sqrt(growth)


def root_scale(panel: Panel, season: int) -> Array:
    """Of each series the root mean squared difference from one season before, where it is too short from one period.

    Over the last `scale_window` periods: [S]; 0 where it never changed.
    """
    every = np.arange(len(panel.series))
    parts = []
    for start in range(0, len(every), _TOGETHER):
        values = _ends(panel, every[start : start + _TOGETHER], scale_window(season))
        by_season, by_period = (values[:, lag:] - values[:, :-lag] for lag in (season, 1))
        is_short = np.isnan(by_season).all(axis=1)
        parts.append(np.sqrt(np.where(is_short, _mean(np.square(by_period)), _mean(np.square(by_season)))))
    return np.concatenate(parts)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Of each series of a panel the newest value of the same season, or its last one, from the panel's origin on."""

    mean: Array  # [S, H]
    #: standard deviation of each step: of the past errors, growing as that of a random walk by seasons
    deviation: Array  # [S, H]
    #: mean absolute difference from one season before, one period before where it is too short; 0: it never changed
    scale: Array  # [S]
    method: tuple[str, ...]


def repeated(panel: Panel, horizon: int, season: int) -> Repeated:
    """Seasonal naive where two seasons are there, naive where a value is at the origin, else the last value.

    Scale and deviation are of the last `scale_window` periods.
    """
    present = np.add.reduceat(~np.isnan(panel.values), panel.offsets[:-1])
    parts = [
        _repeated(panel, np.arange(start, min(start + _TOGETHER, len(present))), present, horizon, season)
        for start in range(0, len(present), _TOGETHER)
    ]
    mean, deviation, scale, is_seasonal = (np.concatenate(each) for each in zip(*parts, strict=True))
    is_behind = panel.last < len(panel.grid) - 1
    named = np.where(is_seasonal, "seasonal-naive", np.where(is_behind, "last-value", "naive"))
    return Repeated(mean, deviation, scale, tuple(named.tolist()))


def _repeated(
    panel: Panel, series: npt.NDArray[np.int64], present: npt.NDArray[np.int64], horizon: int, season: int
) -> tuple[Array, Array, Array, npt.NDArray[np.bool_]]:
    values = _ends(panel, series, scale_window(season))
    same, seasons_back = _same_season(values, season)
    step = np.arange(horizon)
    is_seasonal = (present[series] >= 2 * season) & ~np.isnan(same).any(axis=1) & (season > 1)
    last = panel.values[panel.offsets[series + 1] - 1]
    behind = len(panel.grid) - 1 - panel.last[series]
    mean = np.where(is_seasonal[:, None], same[:, step % season], last[:, None])
    ahead = np.where(
        is_seasonal[:, None], 1 + step // season + seasons_back[:, step % season], 1 + behind[:, None] + step
    )
    by_season, by_period = (values[:, lag:] - values[:, :-lag] for lag in (season, 1))
    errors = np.where(is_seasonal[:, None], np.square(_padded(by_season, by_period)), np.square(by_period))
    deviation = np.sqrt(_mean(errors))[:, None] * np.sqrt(ahead)
    scale = _mean(np.abs(by_season))
    is_short = np.isnan(by_season).all(axis=1)
    return mean, deviation, np.where(is_short, _mean(np.abs(by_period)), scale), is_seasonal


def _ends(panel: Panel, series: npt.NDArray[np.int64], length: int) -> Array:
    """Of some series the last `length` periods up to the panel's origin: [N, length], NaN where nothing is."""
    local = len(panel.grid) - length + np.arange(length) - panel.first[series][:, None]
    inside = (local >= 0) & (local < panel.lengths[series][:, None])
    return np.where(inside, panel.values[np.where(inside, panel.offsets[series][:, None] + local, 0)], np.nan)


def _same_season(values: Array, season: int) -> tuple[Array, npt.NDArray[np.int64]]:
    """Of each position in a season the newest value, and how many seasons before the last one it is: [N, m] each."""
    newest = np.full((len(values), season), np.nan)
    back = np.zeros(newest.shape, np.int64)
    for n in range(values.shape[1] // season):
        end = values.shape[1] - n * season
        missing = np.isnan(newest)
        newest = np.where(missing, values[:, end - season : end], newest)
        back = np.where(missing, n, back)
    return newest, back


def _padded(values: Array, like: Array) -> Array:
    return np.pad(values, ((0, 0), (like.shape[1] - values.shape[1], 0)), constant_values=np.nan)


def _mean(values: Array) -> Array:
    """By rows, without NaN; 0 where there is nothing else."""
    known = ~np.isnan(values)
    mean: Array = np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return mean
