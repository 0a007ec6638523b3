"""What is wrong with a series that is otherwise in order: gaps, constancy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


def is_constant(values: Array) -> bool:
    """Whether all values are the same."""
    present = values[~np.isnan(values)]
    return bool((present == present[0]).all())


def fill_gaps(panel: Panel, *, longest: int) -> Panel:
    """The panel with runs of at most `longest` missing periods interpolated linearly; longer ones stay NaN."""
    if longest == 0 or not np.isnan(panel.values).any():
        return panel
    return replace(
        panel, values=np.concatenate([_filled(panel.series_values(s), longest) for s in range(len(panel.series))])
    )


def _filled(values: Array, longest: int) -> Array:
    missing = np.isnan(values)
    positions = np.arange(len(values))
    filled = np.interp(positions, positions[~missing], values[~missing])
    run = np.cumsum(np.diff(missing.astype(int), prepend=0) != 0)
    too_long = missing & (np.bincount(run)[run] > longest)
    return np.where(too_long, np.nan, filled)
