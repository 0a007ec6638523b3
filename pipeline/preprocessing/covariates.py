"""Features that networks read beside the values of a series: covariates, the calendar and attributes.

Covariates are centred and scaled by series with the values up to the cutoff. A gap takes the value before it, drawn
towards the centre with every period by the covariate's own persistence (its lag-1 autocorrelation): a slow one, such as
a temperature, is carried forward, and an event, such as a promotion, is not. The calendar is that of a period's start, in the zone of the recipe's source: the position in the year, week and day as sine
and cosine, and the share of the period's days that are holidays of a country or sessions of an exchange. An attribute
is one of the texts that the fit has seen, one-hot, or none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
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
Rows = npt.NDArray[np.int64]

#: an attribute has at most so many texts; further ones are treated like unknown texts
MOST_TEXTS = 64

#: by name, the position of a period's start in its cycle, from 0 up to 1
CYCLES: dict[str, Callable[[pd.DatetimeIndex], Any]] = {
    "month": lambda periods: (periods.month - 1) / 12,
    "week": lambda periods: (periods.day_of_year - 1) / 366,
    "weekday": lambda periods: periods.day_of_week / 7,
    "hour": lambda periods: (periods.hour + periods.minute / 60) / 24,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureArrays:
    """The features of one panel: P past, F future, G calendar columns, A texts of attributes."""

    past: Single  # [sum of lengths, P]
    #: each series has `panel.ahead` more rows than values
    future: Single  # [sum of lengths + S x ahead, F]
    calendar: Single  # [T + H, G]
    static: Single  # [S, A]
    #: how windows that end earlier than the panel read past and future covariates; None: as far as they are known now
    as_live: CovariateReach | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class CovariateReach:
    """How many periods after the end of a window each covariate is read, the last one for the periods after them."""

    past: npt.NDArray[np.int64]  # [S, P], at most 0
    future: npt.NDArray[np.int64]  # [S, F], at most `panel.ahead`
    #: factor of the last value for every further period
    past_persistence: Array  # [P]
    future_persistence: Array  # [F]


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """Which features a recipe has, fitted up to a cutoff; the names of the fields are keys of forecaster.json."""

    horizon: int
    frequency: str
    exchange: str | None
    zone: str | None
    cycles: tuple[str, ...]
    holidays: str | None
    sessions: str | None
    #: by covariate and series, centre and scale; those of the series "" are of all series together
    past: dict[str, dict[str, tuple[float, float]]]
    future: dict[str, dict[str, tuple[float, float]]]
    #: by attribute, its known texts
    static: dict[str, tuple[str, ...]]
    #: by covariate, the factor of its last scaled value for every period of a gap; 1, where it is not listed
    persistence: dict[str, float] = field(default_factory=dict)
    #: whether the calendar of a period that is named by its last day is that of the days up to it, not of those after it
    reads_named_by_end: bool = False

    @property
    def num_calendar(self) -> int:
        """Number of columns of the calendar (G)."""
        return 2 * len(self.cycles) + bool(self.holidays) + bool(self.sessions)

    @property
    def counts(self) -> dict[str, int]:
        """Number of features that a network reads: of the past, known ahead, and of the series."""
        return {
            "past": len(self.past),
            "ahead": len(self.future) + self.num_calendar,
            "static": sum(map(len, self.static.values())),
        }

    def transform(self, panel: Panel) -> FeatureArrays:
        """Return the features of a panel; beyond the end of a series only what is known ahead."""
        lengths, ahead = panel.lengths, panel.ahead if self.future else 0
        absent = np.full(len(panel.values), np.nan)  # another series that has vanished
        past = [
            _scale(panel, panel.past.get(name, absent), lengths, fitted, self.persistence.get(name, 1.0))
            for name, fitted in self.past.items()
        ]
        future = [
            _scale(panel, panel.future[name], lengths + ahead, fitted, self.persistence.get(name, 1.0))
            for name, fitted in self.future.items()
        ]
        static = [_one_hot(panel.static[name], texts) for name, texts in self.static.items()]
        total, num_series = int(lengths.sum()), len(lengths)
        return FeatureArrays(
            past=_stack(past, total),
            future=_stack(future, total + ahead * num_series),
            calendar=self._calendar(panel.grid),
            static=np.concatenate(static, axis=1) if static else np.empty((num_series, 0), np.float32),
        )

    def transform_as_live(self, panel: Panel, *, carry_forward: bool) -> FeatureArrays:
        """Return the features with no more of the past than a live forecast knows at the end of the panel.

        Args:
            panel: whose windows are read.
            carry_forward: read no more of the future either; otherwise the caller leaves out what is not known ahead.
        """
        features, reach = self.transform(panel), panel.covariate_reach
        whole = np.zeros(len(panel.series), np.int64)
        past = [np.minimum(reach.get(name, whole), 0) for name in self.past]
        future = [
            reach[name] if carry_forward else np.where(reach[name] < 0, reach[name], panel.ahead)
            for name in self.future
        ]
        if all((periods == 0).all() for periods in past) and all((periods == panel.ahead).all() for periods in future):
            return features
        as_live = CovariateReach(
            past=_columns(past, len(whole)),
            future=_columns(future, len(whole)),
            past_persistence=np.array([self.persistence.get(name, 1.0) for name in self.past]),
            future_persistence=np.array([self.persistence.get(name, 1.0) for name in self.future]),
        )
        return replace(features, as_live=as_live)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for forecaster.json."""
        return asdict(self)

    def _calendar(self, grid: Periods) -> Single:
        """Return the calendar of the grid and of the H periods after it: [T + H, G]."""
        if not self.num_calendar:
            return np.empty((len(grid) + self.horizon, 0), np.float32)
        following = Frequency(self.frequency, self.exchange).after(grid[-1], self.horizon + 1)
        periods = np.append(grid, following)
        if self.reads_named_by_end:
            periods = Frequency(self.frequency, self.exchange).first_days(periods)
        starts = pd.DatetimeIndex(periods)
        if self.zone is not None:
            starts = starts.tz_localize("UTC").tz_convert(self.zone).tz_localize(None)
        columns: list[Array] = []
        for name in self.cycles:
            angle = 2 * np.pi * np.asarray(CYCLES[name](starts), float)
            columns.extend((np.sin(angle), np.cos(angle)))
        days = starts.to_numpy().astype("datetime64[D]")
        if self.holidays:
            columns.append(_share_of_days(days, _holidays(self.holidays, starts)))
        if self.sessions:
            columns.append(_share_of_days(days, Frequency("D", self.sessions).between(days[0], days[-1] + 366)))
        return np.stack(columns, axis=1)[:-1].astype(np.float32)


def fit_features(panel: Panel, recipe: Recipe) -> Features:
    """Return the features of a recipe, fitted on all of a panel: give it the panel up to the cutoff."""
    covariates = recipe.covariates
    lengths = panel.lengths
    return Features(
        horizon=recipe.horizon,
        frequency=recipe.frequency,
        exchange=recipe.calendar,
        zone=recipe.source.zone if recipe.grid.is_within_day else None,
        cycles=covariates.calendar,
        holidays=covariates.holidays,
        sessions=covariates.sessions,
        past={name: _fit(panel, values, lengths) for name, values in panel.past.items()},
        future={name: _fit(panel, values, lengths + panel.ahead) for name, values in panel.future.items()},
        static={name: tuple(sorted(set(texts) - {""}))[:MOST_TEXTS] for name, texts in panel.static.items()},
        persistence={} if covariates.carries_forward else _fit_persistence(panel),
        reads_named_by_end=True,
    )


def features_from_dict(fields: dict[str, Any]) -> Features:
    """Return the features that `as_dict` wrote."""
    return Features(
        **{
            **fields,
            "cycles": tuple(fields["cycles"]),
            "static": {name: tuple(texts) for name, texts in fields["static"].items()},
        }
    )


def build_window_inputs(
    panel: Panel, features: FeatureArrays, windows: Windows, context: Array, is_observed: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """Return what a network reads of N windows, by name of its input.

    "context" [N, L, 2 + P + F + G] holds the values, whether they are observed, and the features of these periods;
    "ahead" [N, H, F + G] what is known of the periods after them; "static" [N, A] the attributes. Inputs without columns
    are left out. Before the first period of a series the features of its first period are repeated.

    Args:
        panel: of the windows.
        features: of the panel.
        windows: to read.
        context: their scaled values: [N, L].
        is_observed: which of these are observed: [N, L].
    """
    length, num_future, num_calendar = context.shape[1], features.future.shape[1], features.calendar.shape[1]
    horizon = len(features.calendar) - len(panel.grid)
    back, steps = np.arange(1 - length, 1), np.arange(1, horizon + 1)

    end = windows.end - panel.first[windows.series]  # [N], from the first period of the series
    inside = np.maximum(end[:, None] + back, 0)  # [N, L]
    first = panel.offsets[windows.series][:, None]  # row of the first period in features.past
    first_future = first + (windows.series * (panel.ahead if num_future else 0))[:, None]  # in features.future
    last_future = max(len(features.future) - 1, 0)
    position = windows.end[:, None]  # in features.calendar

    context_channels = [
        context[:, :, None],
        is_observed[:, :, None].astype(float),
        _read_past(features, windows, first, inside, end),
        _read_future(features, windows, first_future, inside, end),
        features.calendar[np.maximum(position + back, 0)],
    ]
    inputs = {"context": np.concatenate(context_channels, axis=-1)}
    if num_future + num_calendar:
        offset = np.minimum(end[:, None] + steps, last_future - first_future)
        future = _read_future(features, windows, first_future, offset, end)
        inputs["ahead"] = np.concatenate([future, features.calendar[position + steps]], axis=-1)
    if features.static.shape[1]:
        inputs["static"] = features.static[windows.series].astype(float)
    return inputs


def _read_past(features: FeatureArrays, windows: Windows, first: Rows, offset: Rows, end: Rows) -> Array:
    """Past covariates at periods of N windows: [N, L, P].

    Args:
        features: of the panel.
        windows: N of them.
        first: row of each series' first period, [N, 1].
        offset: of the periods from there, [N, L].
        end: of the windows' last periods from there, [N].
    """
    reach = features.as_live
    if reach is None:
        return np.asarray(features.past[first + offset], np.float64)
    return _read_within(features.past, first, offset, end, reach.past[windows.series], reach.past_persistence)


def _read_future(features: FeatureArrays, windows: Windows, first: Rows, offset: Rows, end: Rows) -> Array:
    """Covariates that are known ahead, as `_read_past` reads those of the past: [N, L, F]."""
    reach = features.as_live
    if reach is None:
        return np.asarray(features.future[first + offset], np.float64)
    return _read_within(features.future, first, offset, end, reach.future[windows.series], reach.future_persistence)


def _read_within(values: Single, first: Rows, offset: Rows, end: Rows, reach: Rows, persistence: Array) -> Array:
    """Read covariates [rows, C] no further than their reach [N, C] after the ends of windows; see `_read_past`."""
    columns = []
    for c, factor in enumerate(persistence):
        beyond = np.maximum(offset - (end + reach[:, c])[:, None], 0)  # [N, L]
        columns.append(values[first + np.maximum(offset - beyond, 0), c] * factor**beyond)
    return np.stack(columns, axis=-1) if columns else values[first + offset]


def _fit(panel: Panel, values: Array, lengths: npt.NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    """Return centre and scale of a covariate by series, without what is known ahead; "" is all series together.

    Args:
        panel: of the covariate.
        values: of the covariate, series after series.
        lengths: how many of them each series has: [S].
    """
    start = np.cumsum(lengths) - lengths
    pieces = [values[begin : begin + length] for begin, length in zip(start, panel.lengths, strict=True)]
    fitted = {name: _centre_and_scale(piece) for name, piece in zip(panel.series, pieces, strict=True)}
    return {"": _centre_and_scale(np.concatenate(pieces)), **fitted}


def _centre_and_scale(values: Array) -> tuple[float, float]:
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return 0.0, 1.0
    varies = present.max() > present.min()
    return float(present.mean()), float(present.std()) if varies else 1.0


def _fit_persistence(panel: Panel) -> dict[str, float]:
    """Lag-1 autocorrelation, from 0 to 1, of each covariate over all series without what is known ahead.

    That of a covariate which never changes is 1.
    """
    return {
        **{name: _autocorrelation(values, panel.lengths, 0) for name, values in panel.past.items()},
        **{name: _autocorrelation(values, panel.lengths, panel.ahead) for name, values in panel.future.items()},
    }


def _autocorrelation(values: Array, lengths: npt.NDArray[np.int64], ahead: int) -> float:
    series = np.repeat(np.arange(len(lengths)), lengths + ahead)
    start = np.repeat(np.cumsum(lengths + ahead) - lengths - ahead, lengths + ahead)
    is_used = ~np.isnan(values) & (np.arange(len(values)) - start < lengths[series])
    count = np.bincount(series[is_used], minlength=len(lengths))
    mean = np.bincount(series[is_used], values[is_used], minlength=len(lengths)) / np.maximum(count, 1)
    deviation = np.where(is_used, values - mean[series], 0.0)
    is_pair = is_used[1:] & is_used[:-1] & (series[1:] == series[:-1])
    squares = (np.square(deviation[1:]) + np.square(deviation[:-1]))[is_pair].sum() / 2
    products = (deviation[1:] * deviation[:-1])[is_pair].sum()
    return float(np.clip(products / squares, 0.0, 1.0)) if squares > 0 else 1.0


def _scale(
    panel: Panel,
    values: Array,
    lengths: npt.NDArray[np.int64],
    fitted: dict[str, tuple[float, float]],
    persistence: float,
) -> Single:
    """Return the covariate scaled, gaps filled from the value before in the same series, or 0: [sum of lengths].

    Args:
        panel: of the covariate.
        values: of it, series after series.
        lengths: how many of them each series has, [S].
        fitted: centre and scale by series.
        persistence: factor of the value before a gap for every period of the gap.
    """
    parameters = np.array([fitted.get(name, fitted[""]) for name in panel.series], float)  # [S, 2]
    centre, scale = (np.repeat(column, lengths) for column in parameters.T)
    series = np.repeat(np.arange(len(lengths)), lengths)
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, np.arange(len(values))))
    has_last = (last >= 0) & (series[last] == series)
    decay = persistence ** (np.arange(len(values)) - last)
    return np.where(has_last, (values[last] - centre) / scale * decay, 0.0).astype(np.float32)


def _one_hot(texts: tuple[str, ...], known_texts: tuple[str, ...]) -> Single:
    hot: Single = (np.array(texts)[:, None] == np.array(known_texts)[None, :]).astype(np.float32)
    return hot


def _columns(columns: list[npt.NDArray[np.int64]], num_rows: int) -> npt.NDArray[np.int64]:
    return np.stack(columns, axis=1) if columns else np.empty((num_rows, 0), np.int64)


def _stack(columns: list[Single], num_rows: int) -> Single:
    return np.stack(columns, axis=1) if columns else np.empty((num_rows, 0), np.float32)


def _holidays(country: str, starts: pd.DatetimeIndex) -> Periods:
    import holidays

    days = holidays.country_holidays(country, years=range(int(starts[0].year), int(starts[-1].year) + 2))
    return np.array(sorted(days), dtype="datetime64[D]")


def _share_of_days(starts: npt.NDArray[np.datetime64], chosen: Periods) -> Array:
    """Return for each period the share of its days that are chosen; the last period counts as one day.

    Args:
        starts: the first day of each period, ascending.
        chosen: days, ascending.
    """
    chosen = chosen.astype("datetime64[D]")
    ends = np.append(np.maximum(starts[1:], starts[:-1] + 1), starts[-1:] + 1)
    num_chosen = np.searchsorted(chosen, ends) - np.searchsorted(chosen, starts)
    share: Array = num_chosen / (ends - starts).astype(int)
    return share
