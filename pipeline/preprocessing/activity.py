"""Which series of a panel still go on: only these are forecast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.timeseries.panel import Panel


def select_active(panel: Panel, recipe: Recipe) -> Panel:
    """Return the panel without the series that have ended, on the same grid; all of it where the recipe keeps them.

    The newest period of a panel is one of a series that is active, so that the origin stays as it is.
    """
    is_active = are_active(panel, recipe)
    return panel if is_active.all() else panel.take(np.flatnonzero(is_active))


def are_active(panel: Panel, recipe: Recipe) -> npt.NDArray[np.bool_]:
    """Return which series have an observation within the last `recipe.active_within` periods of the panel: [S]."""
    if recipe.publish.inactive == "keep":
        return np.ones(len(panel.series), bool)
    return np.asarray(panel.last > len(panel.grid) - 1 - recipe.active_within)


def series_ended_since(panel: Panel, recipe: Recipe, origin: np.datetime64) -> list[str]:
    """Return the series that were active at an earlier origin and are not any more.

    Args:
        panel: up to the present origin.
        recipe: says when a series has ended.
        origin: a period of the panel.
    """
    earlier = int(np.searchsorted(panel.grid, origin))
    was_active = (panel.last > earlier - recipe.active_within) & (panel.first <= earlier)
    return [panel.series[s] for s in np.flatnonzero(was_active & ~are_active(panel, recipe)).tolist()]
