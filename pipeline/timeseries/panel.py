"""A panel: S series on one grid of T periods, as known at an instant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.text import format_period
from pipeline.timeseries.frames import observations_from_frame
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.observations import Observations

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Values of all series one after the other; series may start and end at different periods.

    Series s has the values `values[offsets[s]:offsets[s + 1]]`, from the period `grid[first[s]]` on. Gaps are NaN; no
    series starts or ends with a gap.
    """

    series: tuple[str, ...]
    grid: Periods  # [T], from the first to the last period of any series
    first: npt.NDArray[np.int64]  # [S], positions in grid
    offsets: npt.NDArray[np.int64]  # [S + 1]
    values: Array  # [sum of lengths]
    #: the instant whose state of knowledge this is
    as_of: datetime | None = None
    #: by name, covariates that are known up to the last value of a series, laid out as `values`
    past: Mapping[str, Array] = field(default_factory=dict)
    #: by name, covariates that are known ahead: each series has `ahead` more of them than values
    future: Mapping[str, Array] = field(default_factory=dict)
    ahead: int = 0
    #: by name, attributes: a text for each series
    static: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def origin(self) -> np.datetime64:
        """The newest period of any series."""
        newest: np.datetime64 = self.grid[-1]
        return newest

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Number of periods from the first to the last of each series, gaps included: [S]."""
        return np.diff(self.offsets)

    @property
    def last(self) -> npt.NDArray[np.int64]:
        """Position in grid of each series' last period: [S]."""
        return self.first + self.lengths - 1

    def series_values(self, s: int | np.integer[Any]) -> Array:
        """The values of series s, gaps included: [lengths[s]]."""
        return self.values[self.offsets[s] : self.offsets[s + 1]]

    def until(self, position: int) -> Panel:
        """Return the panel as if `grid[position]` were the newest period; series that start later are left out.

        Covariates of a series that is cut reach as far as they do at its present end: what is not known ahead now was not
        known ahead then.
        """
        kept = np.flatnonzero(self.first <= position)
        start = self.offsets[kept]
        newest = start + np.minimum(self.last[kept], position) - self.first[kept]
        earlier = self._slice(kept, start, _last_observed(self.values)[newest] + 1, grid=slice(0, position + 1))
        return earlier._forget(self.last[kept] > position, self.covariate_reach, kept)

    @property
    def covariate_reach(self) -> dict[str, npt.NDArray[np.int64]]:
        """By covariate, how many periods after the last one of each series are known in a row: [S].

        Below 0, it is unknown for so many of the last periods. A series that ended before the origin counts like the one
        at the origin whose covariate is known least.
        """
        is_current = self.last == len(self.grid) - 1
        reach = {name: _reach(values, self.lengths, 0) for name, values in self.past.items()}
        reach |= {name: _reach(values, self.lengths, self.ahead) for name, values in self.future.items()}
        return {name: np.where(is_current, periods, periods[is_current].min()) for name, periods in reach.items()}

    def _forget(
        self, is_cut: npt.NDArray[np.bool_], reach: Mapping[str, npt.NDArray[np.int64]], kept: npt.NDArray[np.int64]
    ) -> Panel:
        """Return the panel without the covariates of cut series [K] beyond their reach, given for all series [S]."""

        def forget(name: str, values: Array, ahead: int) -> Array:
            lengths = self.lengths + ahead
            after_last = np.arange(len(values)) - np.repeat(_offsets(lengths)[:-1] + self.lengths - 1, lengths)
            limit = np.where(is_cut, reach[name][kept], ahead)
            return np.where(after_last > np.repeat(limit, lengths), np.nan, values)

        if not is_cut.any() or not reach:
            return self
        return replace(
            self,
            past={name: forget(name, values, 0) for name, values in self.past.items()},
            future={name: forget(name, values, self.ahead) for name, values in self.future.items()},
        )

    def since(self, position: int) -> Panel:
        """Return the panel as if nothing before `grid[position]` were known; series that end earlier are left out."""
        kept = np.flatnonzero(self.last >= position)
        oldest = self.offsets[kept] + np.maximum(position - self.first[kept], 0)
        start = _next_observed(self.values)[oldest]
        return self._slice(kept, start, self.offsets[kept + 1], grid=slice(position, None))

    def take(self, kept: npt.NDArray[np.int64]) -> Panel:
        """Return the panel of the series at these indices, on the same grid."""
        return self._slice(kept, self.offsets[kept], self.offsets[kept + 1], grid=slice(0, None))

    def _slice(
        self, kept: npt.NDArray[np.int64], start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64], *, grid: slice
    ) -> Panel:
        """Return the panel of the kept series [K], whose values are `values[start[k]:stop[k]]`."""
        lengths = stop - start
        inside = _expand(start, lengths)
        inside_ahead = _expand(start + self.ahead * kept, lengths + self.ahead)
        return replace(
            self,
            series=tuple(self.series[s] for s in kept),
            grid=self.grid[grid],
            first=self.first[kept] + start - self.offsets[kept] - grid.start,
            offsets=_offsets(lengths),
            values=self.values[inside],
            past={name: values[inside] for name, values in self.past.items()},
            future={name: values[inside_ahead] for name, values in self.future.items()},
            static={name: tuple(texts[s] for s in kept) for name, texts in self.static.items()},
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        frequency: Frequency,
        *,
        series: str | None = "series",
        period: str = "period",
        value: str = "value",
        as_of: datetime | None = None,
    ) -> Panel:
        """Return the panel of a long data frame, with its series in order of name.

        Args:
            frame: one row for each value, in any order.
            frequency: the spacing of periods.
            series: the column of the series' names; None: one series, named like the value column.
            period: the column of datetimes, dates, ISO 8601 texts or pandas periods.
            value: the column of numbers; missing values and NaN are gaps.
            as_of: the instant whose state of knowledge the values are.

        Raises:
            ValueError: a column is missing, a value in it is not usable, a period is not one of the frequency, a series
                has two values of one period, or there is no value; the message names column, series and period.
        """
        rows = observations_from_frame(frame, frequency, series=series, period=period, value=value)
        return panel_from_observations(
            rows.names, rows.series, rows.period, rows.value, frequency=frequency, as_of=as_of
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each period of each series, with the columns series, period and value; gaps are NaN."""
        positions = _expand(self.first, self.lengths)
        names = np.repeat(np.array(self.series, object), self.lengths)
        columns = {"series": pd.Series(names, dtype="str"), "period": self.grid[positions], "value": self.values}
        return pd.DataFrame(columns)

    @property
    def data_hash(self) -> str:
        """Hash of names, periods, values, covariates and attributes, the same on any machine."""
        digest = hashlib.sha256("\0".join(self.series).encode())
        for array in (
            self.grid.astype("<i8"),
            self.first.astype("<i8"),
            self.offsets.astype("<i8"),
            self.values.astype("<f8"),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, covariate in sorted({**self.past, **self.future}.items()):
            digest.update(name.encode() + covariate.astype("<f8").tobytes())
        for name, texts in sorted(self.static.items()):
            digest.update("\0".join((name, *texts)).encode())
        return digest.hexdigest()


def panel_from_observations(
    names: Sequence[str],
    series: npt.NDArray[np.int64],
    period: Periods,
    value: Array,
    *,
    frequency: Frequency,
    as_of: datetime | None = None,
) -> Panel:
    """Return the panel of n observations, in any order; series without a value are left out.

    Args:
        names: of the series.
        series: the index in `names` of each observation's series: [n].
        period: the period of each observation, on the frequency's grid: [n].
        value: the value of each observation; NaN is a gap: [n].
        frequency: the spacing of periods.
        as_of: the instant whose state of knowledge the observations are.

    Raises:
        ValueError: there is no observation, or a series has two values of one period.
    """
    is_present = ~np.isnan(value)
    series, period, value = series[is_present], period[is_present], value[is_present]
    if len(value) == 0:
        raise ValueError("a panel needs at least one observation")
    if not _is_ascending(series, period):
        order = np.lexsort((period, series))
        series, period, value = series[order], period[order], value[order]
        _require_distinct(names, series, period)
    grid = frequency.between(period.min(), period.max())
    position = np.searchsorted(grid, period)  # [n]
    present, start, rank = np.unique(series, return_index=True, return_inverse=True)  # [S], [S], [n]
    first, last = position[start], position[np.append(start[1:], len(series)) - 1]  # [S]
    offsets = _offsets(last - first + 1)
    values = np.full(offsets[-1], np.nan)
    values[offsets[rank] + position - first[rank]] = value
    return Panel(
        series=tuple(names[s] for s in present), grid=grid, first=first, offsets=offsets, values=values, as_of=as_of
    )


def _is_ascending(series: npt.NDArray[np.int64], period: Periods) -> bool:
    """Whether rows are in order of series and period, each pair once."""
    is_same_series = series[1:] == series[:-1]
    return bool(((series[1:] > series[:-1]) | (is_same_series & (period[1:] > period[:-1]))).all())


def _require_distinct(names: Sequence[str], series: npt.NDArray[np.int64], period: Periods) -> None:
    repeated = np.flatnonzero((series[1:] == series[:-1]) & (period[1:] == period[:-1]))
    if len(repeated):
        row = repeated[0]
        raise ValueError(
            f'series "{names[series[row]]}" has two values for {format_period(period[row])}: expected one value a period'
        )


def add_covariate(
    panel: Panel, name: str, observations: Observations, *, frequency: Frequency, known_ahead: bool
) -> Panel:
    """Return the panel with a further covariate; periods without an observation are NaN.

    Args:
        panel: its `ahead` is how many periods beyond the end of each series a covariate is known.
        name: of the covariate.
        observations: of the covariate; those of other series and of periods outside their series are left out.
        frequency: of the panel.
        known_ahead: whether the covariate is known ahead.
    """
    ahead = panel.ahead if known_ahead else 0
    grid = np.append(panel.grid, frequency.after(panel.origin, ahead)) if ahead else panel.grid
    lengths = panel.lengths + ahead
    index = {series: s for s, series in enumerate(panel.series)}
    s = np.array([index.get(series, -1) for series in observations.names], np.int64)[observations.series]  # [n]
    position = np.minimum(np.searchsorted(grid, observations.period), len(grid) - 1)
    local = position - panel.first[s]
    is_on_grid = grid[position] == observations.period
    is_inside = (s >= 0) & is_on_grid & (local >= 0) & (local < lengths[s])
    values = np.full(int(lengths.sum()), np.nan)
    values[(_offsets(lengths)[s] + local)[is_inside]] = observations.value[is_inside]
    if known_ahead:
        return replace(panel, future={**panel.future, name: values})
    return replace(panel, past={**panel.past, name: values})


def add_other_series(panel: Panel) -> Panel:
    """Return the panel with every series as a past covariate of all, and the series' name as an attribute."""
    past = dict(panel.past)
    positions = _expand(panel.first, panel.lengths)
    for s, name in enumerate(panel.series):
        on_grid = np.full(len(panel.grid), np.nan)
        on_grid[panel.first[s] : panel.last[s] + 1] = panel.series_values(s)
        past[f"series {name}"] = on_grid[positions]
    return replace(panel, past=past, static={**panel.static, "series": panel.series})


def _reach(values: Array, lengths: npt.NDArray[np.int64], ahead: int) -> npt.NDArray[np.int64]:
    """Return how many periods after the last one of each series a covariate is known in a row: [S]; see `Panel`.

    Args:
        values: of the covariate, series after series, each with `ahead` more than its length.
        lengths: periods of each series, [S].
        ahead: how many periods after the last one the covariate has.
    """
    start = _offsets(lengths + ahead)[:-1]
    last = start + lengths - 1
    is_known = ~np.isnan(values)
    newest = np.maximum.accumulate(np.where(is_known, np.arange(len(values)), -1))[last]
    num_missing = last - np.maximum(newest, start - 1)
    num_ahead = is_known[last[:, None] + np.arange(1, ahead + 1)].cumprod(axis=1).sum(axis=1)
    return np.asarray(np.where(num_ahead > 0, num_ahead, -num_missing), np.int64)


def _expand(start: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return `start[s]`, `start[s] + 1` … `start[s] + lengths[s] - 1` for each s, one after the other."""
    shifts = start - _offsets(lengths)[:-1]
    positions: npt.NDArray[np.int64] = np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))
    return positions


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _last_observed(values: Array) -> npt.NDArray[np.int64]:
    """Return for each index the largest index up to it whose value is not NaN; the first value is not NaN."""
    return np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))


def _next_observed(values: Array) -> npt.NDArray[np.int64]:
    """Return for each index the smallest index from it on whose value is not NaN; the last value is not NaN."""
    indices = np.where(np.isnan(values), len(values), np.arange(len(values)))
    return np.minimum.accumulate(indices[::-1])[::-1]
