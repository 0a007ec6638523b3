"""Units in which one network can read series of any size: relative to the level of each, or the logarithm of that."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flat:
    """A panel as a network reads it: series s is `values[offsets[s]:offsets[s + 1]]`."""

    values: npt.NDArray[np.float32]  # gaps filled
    known: npt.NDArray[np.float32]  # 0 in gaps
    offsets: npt.NDArray[np.int64]  # [S + 1]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Of each series: [S]."""
        return np.diff(self.offsets)


def flattened(panel: Panel, *, logarithms: bool) -> Flat:
    """A whole panel, each series relative to the mean magnitude of its own values."""
    known = ~np.isnan(panel.values)
    filled = _filled(panel.values, known)
    level = levels_of(panel.values, panel.offsets)
    values = to_units(filled, np.repeat(level, panel.lengths), logarithms=logarithms)
    return Flat(values=values.astype(np.float32), known=known.astype(np.float32), offsets=panel.offsets)


def contexts_of(
    panel: Panel, series: npt.NDArray[np.int64], end: npt.NDArray[np.int64], length: int
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The `length` values of series up to and including a position of the grid, and which of them are known: [N, L].

    What lies before the first value of a series is filled by it.
    """
    known = ~np.isnan(panel.values)
    filled = _filled(panel.values, known)
    first = panel.offsets[series]
    place = (first + end - panel.first[series])[:, None] + np.arange(1 - length, 1)
    there = np.maximum(place, first[:, None])
    return filled[there], known[there] & (place >= first[:, None])


def levels_of(values: Array, offsets: npt.NDArray[np.int64]) -> Array:
    """The mean magnitude of each series' known values; 1 where that is zero: [S]."""
    magnitude = np.nan_to_num(np.abs(values))
    total = np.add.reduceat(magnitude, offsets[:-1])
    level = total / np.maximum(np.add.reduceat(~np.isnan(values), offsets[:-1], dtype=np.int64), 1)
    return np.where(level > 0, level, 1.0)


def to_units(values: Array, level: Array, *, logarithms: bool) -> Array:
    """What a network reads."""
    relative = values / level
    return np.log(relative) if logarithms else relative


def from_units(numbers: Array, level: Array, *, logarithms: bool) -> Array:
    """The exact inverse of `to_units`."""
    return (np.exp(numbers) if logarithms else numbers) * level


def _filled(values: Array, known: npt.NDArray[np.bool_]) -> Array:
    """Gaps filled by the value before: no series begins with one."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
    return values[last]
