"""A panel: S series on one grid of periods, as known at an instant."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Frequency, Periods

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """Flat values with offsets; series may start and end at different periods.

    Series s holds `values[offsets[s]:offsets[s + 1]]`, from period `grid[first[s]]` on. Gaps are NaN;
    no series starts or ends with one.
    """

    series: tuple[str, ...]
    grid: Periods  # [T], the union of all series' ranges
    first: npt.NDArray[np.int64]  # [S], positions in grid
    offsets: npt.NDArray[np.int64]  # [S + 1]
    values: Array  # [sum of lengths]
    as_of: datetime | None = None
    #: covariates by name, laid out as the values
    past: Mapping[str, Array] = field(default_factory=dict)
    #: covariates that are known ahead, by name: each series has `ahead` more of them than values
    future: Mapping[str, Array] = field(default_factory=dict)
    ahead: int = 0
    #: attributes by name, a text for each series
    static: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def origin(self) -> np.datetime64:
        """The newest period of any series."""
        newest: np.datetime64 = self.grid[-1]
        return newest

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Periods from first to last of each series, gaps included: [S]."""
        return np.diff(self.offsets)

    @property
    def last(self) -> npt.NDArray[np.int64]:
        """Position in grid of each series' last period: [S]."""
        return self.first + self.lengths - 1

    def of(self, s: int | np.integer[Any]) -> Array:
        """The values of series s: [T_s]."""
        return self.values[self.offsets[s] : self.offsets[s + 1]]

    def until(self, position: int) -> Panel:
        """The same panel as if `grid[position]` were the newest period; series that start later are left out."""
        kept = np.flatnonzero(self.first <= position)
        ends = np.minimum(self.last[kept], position)
        pieces = [
            _without_trailing_gap(self.of(s)[: end - self.first[s] + 1]) for s, end in zip(kept, ends, strict=True)
        ]
        lengths = np.array([len(piece) for piece in pieces], np.int64)
        inside = _places(self.offsets[kept], lengths)
        known_ahead = _places(self.offsets[kept] + self.ahead * kept, lengths + self.ahead)
        return replace(
            self,
            series=tuple(self.series[s] for s in kept),
            grid=self.grid[: position + 1],
            first=self.first[kept],
            offsets=_offsets(lengths),
            values=np.concatenate(pieces) if pieces else np.empty(0),
            past={name: values[inside] for name, values in self.past.items()},
            future={name: values[known_ahead] for name, values in self.future.items()},
            static={name: tuple(texts[s] for s in kept) for name, texts in self.static.items()},
        )

    def since(self, position: int) -> Panel:
        """The same panel as if nothing before `grid[position]` were known; series that end earlier are left out."""
        starts = np.maximum(position - self.first, 0)
        starts = np.where(starts < self.lengths, starts, 0)
        starts += [_leading_gap(self.of(s)[start:]) for s, start in enumerate(starts.tolist())]
        kept = np.flatnonzero(self.last >= position)
        first, lengths = (self.first + starts)[kept], (self.lengths - starts)[kept]
        inside = _places((self.offsets[:-1] + starts)[kept], lengths)
        known_ahead = _places((self.offsets[:-1] + starts)[kept] + self.ahead * kept, lengths + self.ahead)
        return replace(
            self,
            series=tuple(self.series[s] for s in kept),
            grid=self.grid[position:],
            first=first - position,
            offsets=_offsets(lengths),
            values=self.values[inside],
            past={name: values[inside] for name, values in self.past.items()},
            future={name: values[known_ahead] for name, values in self.future.items()},
            static={name: tuple(texts[s] for s in kept) for name, texts in self.static.items()},
        )

    @property
    def data_hash(self) -> str:
        """Hash of names, periods and values: the same data gives the same hash on any machine."""
        digest = hashlib.sha256("\0".join(self.series).encode())
        for array in (
            self.grid.astype("<i8"),
            self.first.astype("<i8"),
            self.offsets.astype("<i8"),
            self.values.astype("<f8"),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        for name, told in sorted({**self.past, **self.future}.items()):
            digest.update(name.encode() + told.astype("<f8").tobytes())
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
    """Put observations on their grid.

    Args:
        names: of the S series.
        series: for each observation the position of its series in `names`.
        period: for each observation its period, on the frequency's grid.
        value: for each observation its value; NaN is a gap.
        frequency: the spacing of periods.
        as_of: the state of knowledge that these observations are.

    Raises:
        ValueError: there is no observation, or a series has two of one period.
    """
    present = ~np.isnan(value)
    series, period, value = series[present], period[present], value[present]
    if len(value) == 0:
        raise ValueError("a panel needs at least one observation")
    if not _is_ascending(series, period):
        order = np.lexsort((period, series))
        series, period, value = series[order], period[order], value[order]
        _require_distinct(names, series, period)
    seen, start = np.unique(series, return_index=True)
    grid = frequency.between(period.min(), period.max())
    position = np.searchsorted(grid, period)
    first, last = position[start], position[np.append(start[1:], len(series)) - 1]
    offsets = _offsets(last - first + 1)
    values = np.full(offsets[-1], np.nan)
    rank = np.searchsorted(seen, series)
    values[offsets[rank] + position - first[rank]] = value
    return Panel(
        series=tuple(names[s] for s in seen), grid=grid, first=first, offsets=offsets, values=values, as_of=as_of
    )


def _is_ascending(series: npt.NDArray[np.int64], period: Periods) -> bool:
    """Whether rows are in order of series and period, each pair once."""
    same = series[1:] == series[:-1]
    return bool(((series[1:] > series[:-1]) | (same & (period[1:] > period[:-1]))).all())


def _require_distinct(names: Sequence[str], series: npt.NDArray[np.int64], period: Periods) -> None:
    again = np.flatnonzero((series[1:] == series[:-1]) & (period[1:] == period[:-1]))
    if len(again):
        row = again[0]
        raise ValueError(
            f'series "{names[series[row]]}" has two values for {str(period[row])[:16]}: expected one value a period'
        )


def with_covariate(
    panel: Panel,
    name: str,
    told: tuple[Sequence[str], npt.NDArray[np.int64], Periods, Array],
    *,
    frequency: Frequency,
    known_ahead: bool,
) -> Panel:
    """The panel with one covariate more; what was not told, or of no period of the series, is NaN.

    Args:
        panel: whose `ahead` says how far beyond the end of each series a covariate is known.
        name: of the covariate.
        told: names of series, and for each value the position of its series in them, its period and the value.
        frequency: of the panel.
        known_ahead: whether it is known ahead.
    """
    names, series, period, value = told
    ahead = panel.ahead if known_ahead else 0
    grid = np.append(panel.grid, frequency.after(panel.origin, ahead)) if ahead else panel.grid
    index = {name: s for s, name in enumerate(panel.series)}
    rank = np.array([index.get(name, -1) for name in names], np.int64)[series]
    position = np.minimum(np.searchsorted(grid, period), len(grid) - 1)
    local = position - panel.first[rank]
    lengths = panel.lengths + ahead
    fits = (rank >= 0) & (grid[position] == period) & (local >= 0) & (local < lengths[rank])
    values = np.full(int(lengths.sum()), np.nan)
    values[(_offsets(lengths)[rank] + local)[fits]] = value[fits]
    both = {name: values}
    if known_ahead:
        return replace(panel, future={**panel.future, **both})
    return replace(panel, past={**panel.past, **both})


def with_other_series(panel: Panel) -> Panel:
    """The panel with every series as a covariate of the others, and which it is as an attribute."""
    past = dict(panel.past)
    inside = _places(panel.first, panel.lengths)  # positions in the grid
    for s, name in enumerate(panel.series):
        on_grid = np.full(len(panel.grid), np.nan)
        on_grid[panel.first[s] : panel.last[s] + 1] = panel.of(s)
        past[f"series {name}"] = on_grid[inside]
    return replace(panel, past=past, static={**panel.static, "series": panel.series})


def _places(first: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The positions `first[s]`, `first[s] + 1` … of each series, one series after the other."""
    starts = _offsets(lengths)[:-1]
    places: npt.NDArray[np.int64] = np.repeat(first - starts, lengths) + np.arange(int(lengths.sum()))
    return places


def _offsets(lengths: Sequence[int] | npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def _without_trailing_gap(values: Array) -> Array:
    return values[: np.flatnonzero(~np.isnan(values))[-1] + 1]


def _leading_gap(values: Array) -> int:
    return int(np.flatnonzero(~np.isnan(values))[0])
