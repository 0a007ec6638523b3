"""Windows: positions in a panel to forecast from, and the values before and after each of them.

A window of series s that ends at position e of the grid has as context the L periods up to and including e, and as
target the H periods after e. It may be used to fit a model with cutoff c only if e + H <= c: then no value after the
cutoff is in it. A window is the pair (s, e); its values are read from the panel when they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

#: windows are drawn so many times at most, until enough of them can be fitted on
_MOST_DRAWS = 20
#: periods of contexts with gaps that are looked through at a time
_PERIODS_PER_BATCH = 20_000_000


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows: the series of each, and the position in the grid where its context ends."""

    series: Positions  # [N], indices in panel.series
    end: Positions  # [N], positions in panel.grid

    def __len__(self) -> int:
        return len(self.end)

    def take(self, rows: npt.NDArray[np.bool_] | Positions | slice) -> Windows:
        """Return the windows that a mask, indices or a slice selects."""
        return Windows(self.series[rows], self.end[rows])

    def with_target_until(self, cutoff: int, *, horizon: int) -> Windows:
        """Return the windows whose whole target lies at or before the cutoff: a model may be fitted on these."""
        return self.take(self.end + horizon <= cutoff)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextRequirements:
    """What a network needs of a context; the names of the fields are keys of forecaster.json."""

    #: periods that the network reads (L)
    context: int
    #: periods from the first of the series to the end of the context
    least_length: int
    #: observed values among the L periods
    least_known: int
    #: whether a series with at least one full context is fitted on full contexts only
    rather_whole: bool = False
    #: periods of the season that the forecast starts from: a value of each place in it must be among the L periods
    season: int = 1


def count_windows(panel: Panel, *, needs: ContextRequirements, horizon: int) -> int:
    """Return how many windows of a panel could be fitted on if it had no gaps."""
    return int(_window_counts(panel, needs, horizon)[1].sum())


def find_windows_ending(panel: Panel, ends: Positions, *, needs: ContextRequirements) -> Windows:
    """Return the windows that end at these positions of the grid, by series and end.

    Left out are windows with too little context, and series that have no period after the window.
    """
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), ends, indexing="ij"))
    is_inside = (panel.first[series] <= end) & (end < panel.last[series])
    windows = Windows(series[is_inside], end[is_inside])
    return windows.take(have_enough_context(panel, windows, needs))


def find_windows(panel: Panel, *, needs: ContextRequirements, horizon: int) -> Windows:
    """Return all windows to fit on, by series and end.

    Each has enough context, its whole target inside the series, and at least one observed value in the target.
    """
    shortest, count = _window_counts(panel, needs, horizon)
    series = np.repeat(np.arange(len(count)), count)
    number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    windows = Windows(series, panel.first[series] + shortest[series] - 1 + number)
    return windows.take(_can_be_fitted(panel, windows, needs, horizon))


def draw_windows(
    panel: Panel,
    size: int,
    *,
    needs: ContextRequirements,
    horizon: int,
    evenly: Literal["series", "windows"],
    rng: np.random.Generator,
) -> Windows:
    """Return `size` windows to fit on, drawn at random with replacement; none if the panel has none.

    Windows with too few observed values are rejected and drawn again. Where that gives fewer than `size` windows after
    20 draws, the accepted ones are repeated in turn.

    Args:
        panel: to draw from.
        size: number of windows.
        needs: of the network.
        horizon: length of the target (H).
        evenly: "series": each series is equally likely, and so is each window in it; "windows": each window is.
        rng: the source of randomness.
    """
    shortest, count = _window_counts(panel, needs, horizon)
    usable = np.flatnonzero(count)  # series
    if len(usable) == 0:
        return _concatenate([])
    probability = count[usable] / count.sum() if evenly == "windows" else None
    accepted: list[Windows] = []
    for _ in range(_MOST_DRAWS):
        series = usable[rng.choice(len(usable), size, p=probability)]
        number = np.minimum((rng.random(size) * count[series]).astype(np.int64), count[series] - 1)
        drawn = Windows(series, panel.first[series] + shortest[series] - 1 + number)
        accepted.append(drawn.take(_can_be_fitted(panel, drawn, needs, horizon)))
        if sum(map(len, accepted)) >= size:
            break
    windows = _concatenate(accepted)
    return windows.take(np.arange(size) % len(windows)) if len(windows) else windows


def _concatenate(parts: list[Windows]) -> Windows:
    none = np.empty(0, np.int64)
    return Windows(
        np.concatenate([none, *(part.series for part in parts)]), np.concatenate([none, *(part.end for part in parts)])
    )


def _window_counts(panel: Panel, needs: ContextRequirements, horizon: int) -> tuple[Positions, Positions]:
    """Return for each series the length of its shortest history before a target, and its number of windows: [S], [S]."""
    longest = panel.lengths - horizon
    shortest = np.full_like(longest, needs.least_length)
    if needs.rather_whole:
        shortest = np.minimum(longest, np.maximum(shortest, needs.context))
    return shortest, np.where(longest >= needs.least_length, longest - shortest + 1, 0)


def _can_be_fitted(panel: Panel, windows: Windows, needs: ContextRequirements, horizon: int) -> npt.NDArray[np.bool_]:
    """Return which windows [N], whose targets lie inside their series, have enough context and an observed target."""
    start = panel.offsets[windows.series] + windows.end - panel.first[windows.series] + 1
    return have_enough_context(panel, windows, needs) & (_count_observed(panel, start, start + horizon) > 0)


def have_enough_context(panel: Panel, windows: Windows, needs: ContextRequirements) -> npt.NDArray[np.bool_]:
    """Return which windows [N] end inside their series, at an observed value, with the context that a network needs."""
    first = panel.offsets[windows.series]  # flat index of the first value of the series
    last = first + windows.end - panel.first[windows.series]  # flat index of the last value of the context
    length = last - first + 1
    is_inside = (length >= 1) & (windows.end <= panel.last[windows.series])
    last = np.where(is_inside, last, first)
    num_observed = _count_observed(panel, np.maximum(last + 1 - needs.context, first), last + 1)
    is_enough = is_inside & (length >= needs.least_length) & (num_observed >= needs.least_known)
    is_enough &= ~np.isnan(panel.values[last])
    if needs.season > 1:
        is_enough[is_enough] = _have_whole_season(panel, first[is_enough], last[is_enough], needs)
    return np.asarray(is_enough)


def _have_whole_season(
    panel: Panel, first: Positions, last: Positions, needs: ContextRequirements
) -> npt.NDArray[np.bool_]:
    """Return which of N contexts have an observed value at each place of the season.

    Args:
        panel: with the values.
        first: flat index of the first value of each window's series, [N].
        last: flat index of the last value of each context, [N].
        needs: of the network.
    """
    season = needs.season
    start = np.maximum(last + 1 - season, first)
    is_whole = np.asarray(_count_observed(panel, start, last + 1) == season)
    with_gaps = np.flatnonzero(~is_whole & (last - first + 1 >= season))
    num_seasons = -(-needs.context // season)
    back = np.arange(num_seasons * season)
    for rows in np.array_split(with_gaps, 1 + len(with_gaps) * len(back) // _PERIODS_PER_BATCH):
        index = last[rows, None] - back  # [n, seasons x season], the newest first
        is_inside = (index >= first[rows, None]) & (back < needs.context)
        is_observed = is_inside & ~np.isnan(panel.values[np.maximum(index, 0)])
        is_whole[rows] = is_observed.reshape(-1, num_seasons, season).any(axis=1).all(axis=1)
    return is_whole


def _count_observed(panel: Panel, start: Positions, stop: Positions) -> Positions:
    """Return how many of `panel.values[start[n]:stop[n]]` are not NaN: [N]."""
    is_observed = ~np.isnan(panel.values)
    if is_observed.all():
        return stop - start
    count = np.append(0, np.cumsum(is_observed, dtype=np.int32))
    return np.asarray(count[stop] - count[start], np.int64)


def read_contexts(panel: Panel, windows: Windows, length: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the last `length` values up to the end of each window, and which of them are observed: [N, L], [N, L].

    A gap takes the value before it; periods before the first one of a series take its first value. These numbers fill a
    place and say nothing: whoever reads them takes base, level and scale from what is observed.
    """
    first = panel.offsets[windows.series][:, None]
    index = first + (windows.end - panel.first[windows.series])[:, None] + np.arange(1 - length, 1)  # [N, L]
    inside = np.maximum(index, first)
    context = panel.values[inside]
    is_observed = ~np.isnan(context)
    if not is_observed.all():
        begin, end = panel.offsets[windows.series.min()], panel.offsets[windows.series.max() + 1]
        values = panel.values[begin:end]
        context = fill_forward(values, ~np.isnan(values))[inside - begin]
    return context, is_observed & (index >= first)


def read_targets(panel: Panel, windows: Windows, horizon: int) -> Array:
    """Return the values of the H periods after each window: [N, H]; NaN where nothing is observed."""
    position = windows.end[:, None] + 1 + np.arange(horizon)  # [N, H]
    index = panel.offsets[windows.series][:, None] + position - panel.first[windows.series][:, None]
    is_inside = position <= panel.last[windows.series][:, None]
    return np.where(is_inside, panel.values[np.minimum(index, len(panel.values) - 1)], np.nan)


def fill_forward(values: Array, is_observed: npt.NDArray[np.bool_]) -> Array:
    """Return the values [n] with each gap filled by the last observed value before it; the first value is observed."""
    last = np.maximum.accumulate(np.where(is_observed, np.arange(len(values)), 0))
    return values[last]
