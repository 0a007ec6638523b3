"""What networks read beside the values of a series: covariates, the calendar, attributes.

Covariates are centred and scaled by series with what was known up to the cutoff, gaps filled by the value before.
The calendar is that of the period's start where the recipe's source has its zone: positions in the year, week and day
as sine and cosine, and the share of a period's days that are holidays of a country or sessions of an exchange.
Attributes are one of the texts that the fit has seen, or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.recipe import Recipe
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

#: an attribute has at most so many texts; others read like one that was never seen
MOST_TEXTS = 64

#: by name, where in its cycle a period begins: from 0 up to 1
CYCLES: dict[str, Callable[[pd.DatetimeIndex], Any]] = {
    "month": lambda periods: (periods.month - 1) / 12,
    "week": lambda periods: (periods.day_of_year - 1) / 366,
    "weekday": lambda periods: periods.day_of_week / 7,
    "hour": lambda periods: (periods.hour + periods.minute / 60) / 24,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureArrays:
    """The features of one panel."""

    past: Single  # [sum of lengths, P]
    #: each series has H more of them than values
    future: Single  # [sum of lengths + S x H, F]
    calendar: Single  # [T + H, G]
    static: Single  # [S, A]


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """The features of a recipe, as they were fitted up to a cutoff."""

    horizon: int
    frequency: str
    exchange: str | None
    zone: str | None
    cycles: tuple[str, ...]
    holidays: str | None
    sessions: str | None
    #: by covariate, the centre and scale of each series; "" is all of them together
    past: dict[str, dict[str, tuple[float, float]]]
    future: dict[str, dict[str, tuple[float, float]]]
    #: by attribute, its texts
    static: dict[str, tuple[str, ...]]

    @property
    def num_calendar(self) -> int:
        """Columns of the calendar (G)."""
        return 2 * len(self.cycles) + bool(self.holidays) + bool(self.sessions)

    @property
    def counts(self) -> dict[str, int]:
        """How many a network reads: of the past, known ahead, and of the series."""
        return {
            "past": len(self.past),
            "ahead": len(self.future) + self.num_calendar,
            "static": sum(map(len, self.static.values())),
        }

    def of(self, panel: Panel) -> FeatureArrays:
        """The features of a panel; nothing after a series' end but what is known ahead."""
        lengths, ahead = panel.lengths, panel.ahead if self.future else 0
        unknown = np.full(len(panel.values), np.nan)  # of a series that has vanished
        past = [_scaled(panel, panel.past.get(name, unknown), lengths, fitted) for name, fitted in self.past.items()]
        future = [_scaled(panel, panel.future[name], lengths + ahead, fitted) for name, fitted in self.future.items()]
        static = [_one_hot(panel.static[name], texts) for name, texts in self.static.items()]
        total, num_series = int(lengths.sum()), len(lengths)
        return FeatureArrays(
            past=_columns(past, total),
            future=_columns(future, total + ahead * num_series),
            calendar=self._calendar(panel.grid),
            static=np.concatenate(static, axis=1) if static else np.empty((num_series, 0), np.float32),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the model directory."""
        return asdict(self)

    def _calendar(self, grid: Periods) -> Single:
        if not self.num_calendar:
            return np.empty((len(grid) + self.horizon, 0), np.float32)
        following = Frequency(self.frequency, self.exchange).after(grid[-1], self.horizon + 1)
        periods = np.append(grid, following)
        starts = pd.DatetimeIndex(periods)
        if self.zone is not None:
            starts = starts.tz_localize("UTC").tz_convert(self.zone).tz_localize(None)
        columns = []
        for name in self.cycles:
            angle = 2 * np.pi * np.asarray(CYCLES[name](starts), float)
            columns += [np.sin(angle), np.cos(angle)]
        days = starts.to_numpy().astype("datetime64[D]")
        if self.holidays:
            columns.append(_share(days, _holidays(self.holidays, starts)))
        if self.sessions:
            columns.append(_share(days, Frequency("D", self.sessions).between(days[0], days[-1] + 366)))
        return np.stack(columns, axis=1)[:-1].astype(np.float32)


def fit_features(panel: Panel, recipe: Recipe) -> Features:
    """Fit on all of a panel; give it the panel up to the cutoff."""
    told = recipe.covariates
    lengths = panel.lengths
    return Features(
        horizon=recipe.horizon,
        frequency=recipe.frequency,
        exchange=recipe.calendar,
        zone=recipe.source.zone if recipe.grid.is_within_day else None,
        cycles=told.calendar,
        holidays=told.holidays,
        sessions=told.sessions,
        past={name: _fitted(panel, values, lengths) for name, values in panel.past.items()},
        future={name: _fitted(panel, values, lengths + panel.ahead) for name, values in panel.future.items()},
        static={name: tuple(sorted(set(texts) - {""}))[:MOST_TEXTS] for name, texts in panel.static.items()},
    )


def features_from_dict(fields: dict[str, Any]) -> Features:
    """The features that `as_dict` wrote down."""
    return Features(
        **{
            **fields,
            "cycles": tuple(fields["cycles"]),
            "static": {name: tuple(texts) for name, texts in fields["static"].items()},
        }
    )


def inputs_of(panel: Panel, features: FeatureArrays, windows: Windows, context: Array, known: Any) -> dict[str, Array]:
    """What a network reads of windows, by name of its input.

    Args:
        panel: whose windows.
        features: of the panel.
        windows: N of them.
        context: their values in the numbers of the network, [N, L].
        known: where these are known, [N, L].
    """
    length = context.shape[1]
    offset = (windows.end - panel.first[windows.series])[:, None] + np.arange(1 - length, 1)
    inside = np.maximum(offset, 0)  # before the first period of a series its features stay
    first = panel.offsets[windows.series][:, None]
    first_ahead = first + (windows.series * (panel.ahead if features.future.shape[1] else 0))[:, None]
    day = np.maximum(windows.end[:, None] + np.arange(1 - length, 1), 0)
    channels = [context[:, :, None], known[:, :, None].astype(float)]
    channels += [features.past[first + inside], features.future[first_ahead + inside], features.calendar[day]]
    inputs = {"context": np.concatenate(channels, axis=-1)}
    horizon = len(features.calendar) - len(panel.grid)
    steps = np.arange(1, horizon + 1)
    ahead = [
        features.future[np.minimum(first_ahead + offset[:, -1:] + steps, max(len(features.future) - 1, 0))],
        features.calendar[windows.end[:, None] + steps],
    ]
    if features.future.shape[1] + features.calendar.shape[1]:
        inputs["ahead"] = np.concatenate(ahead, axis=-1)
    if features.static.shape[1]:
        inputs["static"] = features.static[windows.series].astype(float)
    return inputs


def _fitted(panel: Panel, values: Array, lengths: npt.NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    """Centre and scale of a covariate by series, up to the end of each series' values."""
    ends = np.cumsum(lengths)
    pieces = [values[end - n : end - n + m] for end, n, m in zip(ends, lengths, panel.lengths, strict=True)]
    fitted = {name: _centre_and_scale(piece) for name, piece in zip(panel.series, pieces, strict=True)}
    return {"": _centre_and_scale(np.concatenate(pieces)), **fitted}


def _centre_and_scale(values: Array) -> tuple[float, float]:
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return 0.0, 1.0
    varies = present.max() > present.min()
    return float(present.mean()), float(present.std()) if varies else 1.0


def _scaled(
    panel: Panel,
    values: Array,
    told: npt.NDArray[np.int64],
    fitted: dict[str, tuple[float, float]],
) -> Single:
    parameters = np.array([fitted.get(name, fitted[""]) for name in panel.series], float)  # [S, 2]
    centre, scale = (np.repeat(column, told) for column in parameters.T)
    series = np.repeat(np.arange(len(told)), told)
    known = ~np.isnan(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    same = (last >= 0) & (series[last] == series)
    scaled = np.where(same, (values[last] - centre) / scale, 0.0)
    return scaled.astype(np.float32)


def _one_hot(texts: tuple[str, ...], known: tuple[str, ...]) -> Single:
    hot: Single = (np.array(texts)[:, None] == np.array(known)[None, :]).astype(np.float32)
    return hot


def _columns(columns: list[Single], rows: int) -> Single:
    return np.stack(columns, axis=1) if columns else np.empty((rows, 0), np.float32)


def _holidays(country: str, starts: pd.DatetimeIndex) -> Periods:
    import holidays

    days = holidays.country_holidays(country, years=range(int(starts[0].year), int(starts[-1].year) + 2))
    return np.array(sorted(days), dtype="datetime64[D]")


def _share(starts: npt.NDArray[np.datetime64], chosen: Periods) -> Array:
    """Of the days of each period but the last, the share that is chosen; the last counts as one day."""
    chosen = chosen.astype("datetime64[D]")
    ends = np.append(np.maximum(starts[1:], starts[:-1] + 1), starts[-1:] + 1)
    count = np.searchsorted(chosen, ends) - np.searchsorted(chosen, starts)
    share: Array = count / (ends - starts).astype(int)
    return share
