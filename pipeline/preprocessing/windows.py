"""Windows: positions in a panel from which forecasts are made, and what a network reads there.

A window of series s that ends at position e of the grid has as context the `L` periods up to and including e, and as
target the `H` after it. It may be used for fitting up to a cutoff c only if e + H <= c: then no value after the cutoff
is in it. Windows are pairs (s, e): what they hold is looked up when it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

#: times that windows are drawn until enough of them have what is needed
_DRAWS = 20


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows: which series, and the position in the grid where each context ends."""

    series: Positions  # [N]
    end: Positions  # [N]

    def __len__(self) -> int:
        return len(self.end)

    def take(self, chosen: npt.NDArray[np.bool_] | Positions | slice) -> Windows:
        """The chosen ones of the windows."""
        return Windows(self.series[chosen], self.end[chosen])

    def known_by(self, cutoff: int, *, horizon: int) -> Windows:
        """The windows whose whole target lies at or before the cutoff: what a model may be fitted on."""
        return self.take(self.end + horizon <= cutoff)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextRequirements:
    """What a network needs of a window."""

    context: int
    #: periods that the series must have had by then
    least_length: int
    #: of the context, values that are known
    least_known: int
    #: whether a series that is long enough is fitted on from whole contexts only
    rather_whole: bool = False


def count_windows(panel: Panel, *, needs: ContextRequirements, horizon: int) -> int:
    """How many windows a panel has to fit on, were there no gaps."""
    return int(_choices(panel, needs, horizon)[1].sum())


def windows_ending(panel: Panel, ends: Positions, *, needs: ContextRequirements) -> Windows:
    """The windows that end at some positions of the grid, of every series that has enough there and goes on."""
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), ends, indexing="ij"))
    inside = (panel.first[series] <= end) & (end < panel.last[series])
    windows = Windows(series[inside], end[inside])
    return windows.take(has_enough(panel, windows, needs))


def windows_of(panel: Panel, *, needs: ContextRequirements, horizon: int) -> Windows:
    """All windows of a panel that a network can be fitted on: with enough known, and all of the target inside."""
    earliest, count = _choices(panel, needs, horizon)
    series = np.repeat(np.arange(len(count)), count)
    offset = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    windows = Windows(series, panel.first[series] + earliest[series] - 1 + offset)
    return windows.take(has_enough(panel, windows, needs) & _is_asked(panel, windows, horizon))


def draw_windows(
    panel: Panel,
    size: int,
    *,
    needs: ContextRequirements,
    horizon: int,
    evenly: Literal["series", "windows"],
    rng: np.random.Generator,
) -> Windows:
    """As many of the windows that a network can be fitted on, at random: each series, or each window, is as likely.

    Those that lack known values are drawn again; a panel without usable ones gives none.
    """
    earliest, count = _choices(panel, needs, horizon)
    usable = np.flatnonzero(count)
    drawn = [Windows(np.empty(0, np.int64), np.empty(0, np.int64))]
    chance = count[usable] / max(count.sum(), 1) if evenly == "windows" else None
    for _ in range(_DRAWS if len(usable) else 0):
        series = usable[rng.choice(len(usable), size, p=chance)]
        offset = np.minimum((rng.random(size) * count[series]).astype(np.int64), count[series] - 1)
        windows = Windows(series, panel.first[series] + earliest[series] - 1 + offset)
        drawn.append(windows.take(has_enough(panel, windows, needs) & _is_asked(panel, windows, horizon)))
        if sum(map(len, drawn)) >= size:
            break
    series, end = (np.concatenate([getattr(part, name) for part in drawn]) for name in ("series", "end"))
    return Windows(np.resize(series, size), np.resize(end, size)) if len(series) else drawn[0]


def _is_asked(panel: Panel, windows: Windows, horizon: int) -> npt.NDArray[np.bool_]:
    """Which windows [N], whose targets lie inside their series, have any value in them."""
    place = panel.offsets[windows.series] + windows.end - panel.first[windows.series] + 1
    return np.asarray(_num_known(panel, place, place + horizon) > 0)


def _num_known(panel: Panel, start: Positions, end: Positions) -> Positions:
    """How many of the flat values from `start` up to `end` are known: [N]."""
    known = ~np.isnan(panel.values)
    if known.all():
        return end - start
    count = np.append(0, np.cumsum(known, dtype=np.int32))
    return np.asarray(count[end] - count[start], np.int64)


def _choices(panel: Panel, needs: ContextRequirements, horizon: int) -> tuple[Positions, Positions]:
    """Of each series the periods before its earliest window ends, and how many windows it has: [S]."""
    latest = panel.lengths - horizon
    earliest = np.full_like(latest, needs.least_length)
    if needs.rather_whole:
        earliest = np.minimum(latest, np.maximum(earliest, needs.context))
    return earliest, np.where(latest >= needs.least_length, latest - earliest + 1, 0)


def has_enough(panel: Panel, windows: Windows, needs: ContextRequirements) -> npt.NDArray[np.bool_]:
    """Which windows [N] have what a network needs: length, known values, and one where the context ends."""
    first = panel.offsets[windows.series]
    place = first + windows.end - panel.first[windows.series]
    length = place - first + 1
    inside = (length >= 1) & (windows.end <= panel.last[windows.series])
    place = np.where(inside, place, first)
    known = _num_known(panel, np.maximum(place + 1 - needs.context, first), place + 1)
    enough: npt.NDArray[np.bool_] = inside & (length >= needs.least_length) & (known >= needs.least_known)
    enough &= ~np.isnan(panel.values[place])
    return enough


def contexts_of(panel: Panel, windows: Windows, length: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The `length` values of each window's context, and which of them are known: [N, L].

    Gaps are filled by the value before, what lies before the first value of a series by it.
    """
    first = panel.offsets[windows.series][:, None]
    place = first + (windows.end - panel.first[windows.series])[:, None] + np.arange(1 - length, 1)
    there = np.maximum(place, first)
    context = panel.values[there]
    known = ~np.isnan(context)
    if not known.all():
        begin, end = panel.offsets[windows.series.min()], panel.offsets[windows.series.max() + 1]
        values = panel.values[begin:end]
        context = filled_forward(values, ~np.isnan(values))[there - begin]
    return context, known & (place >= first)


def targets_of(panel: Panel, windows: Windows, horizon: int) -> Array:
    """The values after each window's context [N, H], NaN where nothing is observed."""
    later = windows.end[:, None] + 1 + np.arange(horizon)
    place = panel.offsets[windows.series][:, None] + later - panel.first[windows.series][:, None]
    inside = later <= panel.last[windows.series][:, None]
    return np.where(inside, panel.values[np.minimum(place, len(panel.values) - 1)], np.nan)


def filled_forward(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Gaps filled by the value before: no series begins with one."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
    return values[last]
