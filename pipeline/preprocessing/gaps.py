"""Gaps of a panel and series that never change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


def is_constant(values: Array) -> bool:
    """Whether all observed values [T] are the same; at least one is observed."""
    present = values[~np.isnan(values)]
    return bool((present == present[0]).all())


def fill_gaps(panel: Panel, *, longest: int) -> Panel:
    """Return the panel with gaps of at most `longest` periods interpolated linearly; longer gaps stay NaN."""
    if longest == 0 or not np.isnan(panel.values).any():
        return panel
    return replace(
        panel, values=np.concatenate([_interpolate(panel.series_values(s), longest) for s in range(len(panel.series))])
    )


def _interpolate(values: Array, longest: int) -> Array:
    is_missing = np.isnan(values)
    positions = np.arange(len(values))
    interpolated = np.interp(positions, positions[~is_missing], values[~is_missing])
    run = np.cumsum(np.diff(is_missing.astype(int), prepend=0) != 0)  # number of the run of gaps or values
    is_too_long = is_missing & (np.bincount(run)[run] > longest)
    return np.where(is_too_long, np.nan, interpolated)
