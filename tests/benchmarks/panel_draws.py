"""Draw single series and small panels from the collections that `accuracy.py` and `real.py` read.

The last horizon of each series is held out. All series of a collection are set so that their histories end together.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.panel import Panel
from tests.benchmarks import accuracy, real

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """N series of one frequency, without and with their last horizon."""

    name: str
    recipe: Recipe
    histories: Sequence[Array]
    #: the values that are forecast, [N, H]; NaN where there is none
    observed: Array
    #: periods of the longest history
    grid: Periods

    @property
    def is_frequent(self) -> bool:
        """Whether a period is shorter than a month."""
        return self.recipe.grid.alias not in ("MS", "QS", "YS")

    def take(self, chosen: npt.NDArray[np.int64]) -> DrawnPanel:
        """Return the panel of the series at these indices, which are their names."""
        histories = [self.histories[n] for n in chosen]
        lengths = np.array([len(values) for values in histories])
        panel = Panel(
            series=tuple(f"{n:05d}" for n in chosen),
            grid=self.grid[-int(lengths.max()) :],
            first=lengths.max() - lengths,
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            values=np.concatenate(histories),
        )
        return DrawnPanel(panel=panel, observed=self.observed[chosen])


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnPanel:
    """A panel up to its origin, and the values after it."""

    panel: Panel
    observed: Array  # [S, H]


def draw_panels(collection: Collection, size: int, num_draws: int) -> list[DrawnPanel]:
    """Draw panels that have no series in common, as many as the collection has series for.

    The draw depends on the collection's name alone. The first panels of 10 hold the first single series, and the first
    panel of 100 holds all of both, so that sizes are compared on the same series.
    """
    order = np.random.default_rng(zlib.crc32(collection.name.encode())).permutation(len(collection.histories))
    num_panels = min(num_draws, len(order) // size)
    return [collection.take(order[n * size : (n + 1) * size]) for n in range(num_panels)]


def hold_out(name: str, recipe: Recipe, series: Sequence[Array], grid: Periods) -> Collection:
    """Return the collection of the series that have a history, each without its last horizon.

    Args:
        name: of the collection.
        recipe: its horizon is held out.
        series: values of each, gaps are NaN.
        grid: periods of the longest series.
    """
    horizon = recipe.horizon
    usable = [values for values in series if len(values) >= horizon + 2 and np.isfinite(values[-horizon - 1])]
    longest = max(len(values) for values in usable)
    return Collection(
        name=name,
        recipe=recipe,
        histories=[values[:-horizon] for values in usable],
        observed=np.array([values[-horizon:] for values in usable]),
        grid=grid[len(grid) - longest : len(grid) - horizon],
    )


def _load_competition(part: accuracy.Part) -> Collection:
    histories, observed = accuracy.histories(part)
    series = [np.concatenate(both) for both in zip(histories, observed, strict=True)]
    grid = accuracy.panel_of([max(series, key=len)], part.recipe()).grid
    return hold_out(_competition_name(part), part.recipe(), series, grid)


def _competition_name(part: accuracy.Part) -> str:
    return part.name if part.m3_type else f"m4-{part.name}"


def _load_real(collection: real.Collection) -> Collection:
    """A real collection, with the default test part rather than that of `real.py`."""
    panel, recipe = collection.panel(), collection.recipe()
    recipe = recipe.model_copy(update={"backtest": type(recipe.backtest)()})
    series = [panel.series_values(s) for s in range(len(panel.series))]
    return hold_out(collection.name, recipe, series, panel.grid)


#: what loads a collection, by its name
LOADERS = {
    **{_competition_name(part): partial(_load_competition, part) for part in accuracy.PARTS},
    **{collection.name: partial(_load_real, collection) for collection in real.COLLECTIONS},
}


def load_collections(names: Sequence[str]) -> Iterator[Collection]:
    """Load collections one after the other, in the order of `LOADERS`; all if no names are given."""
    for name, load in LOADERS.items():
        if not names or name in names:
            yield load()
