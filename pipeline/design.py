"""The rule by which the global network's inputs follow from the season, the horizon and the lengths of the series.

| panel | a step reads | context | base |
|---|---|---|---|
| season above 12 | one season | 14 seasons | last season |
| none such, but histories of 40 seasons or horizons, whichever is longer | one of these | 5 and 8 of these | last season |
| others with a season | the last 1, 1½ and 2 seasons, or 2 and 3 of a short one | 4 to 5 seasons | last season |
| others without | about one horizon | 4 to 5 horizons | last value |

The first two fold whole seasons into a step and judge the end of the window; the others read frames and judge every
position. The last season is the base where most series pass the M4 competition's test of it, otherwise the last value.
Logarithms are taken where every value is positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.panel import Panel
from pipeline.recipe import LONGEST_FRAMED_SEASON

Array = npt.NDArray[np.float64]

#: histories of so many horizons are folded too
LONG_HISTORY = 40
#: series that the test of a season looks at
_TESTED = 500
#: one-sided 90 % of the normal distribution, as in the M4 competition
_SIGNIFICANT = 1.645


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """What one member reads, and how it is fitted."""

    kind: Literal["fold", "frame"]
    #: periods that one step reads
    size: int
    context: int
    #: periods of the season that is repeated as the base; 1: the last value
    base: int
    #: newest values of the context that go straight to the output layer
    skip: int
    #: error relative to the value, to the window's own volatility, or between the two
    weighting: Literal["relative", "scaled", "between"]
    #: whether each series or each window is as likely
    draw: Literal["series", "windows"]
    steps: int
    batch_size: int
    learning_rate: float

    def __str__(self) -> str:
        """As MLflow shows it."""
        return (
            f"{self.kind} of {self.size} in {self.context}, base {self.base}, skip {self.skip}, {self.weighting} error, "
            f"{self.steps} x {self.batch_size} windows by {self.draw}, learning rate {self.learning_rate:g}"
        )

    @property
    def least_known(self) -> int:
        """Values that a window has to have."""
        return 2 if self.kind == "frame" else self.context // 2


def designs_for(panel: Panel, *, season: int, horizon: int, members: int) -> tuple[Design, ...]:
    """One design for each member; different inputs help an average more than different seeds."""
    stride = max(season, horizon, 4)
    base = season if season > 1 and seasonal_share(panel, season) > 0.5 else 1
    if season > LONGEST_FRAMED_SEASON:
        variants = [_fold(season, 14 * season, base, skip=7 * season, steps=1200, draw="series")]
    elif float(np.median(panel.lengths)) >= LONG_HISTORY * stride:
        variants = [_fold(stride, n * stride, base, skip=5 * stride, steps=1500, draw="windows") for n in (5, 8)]
    elif season > 1:
        sizes = (
            (2 * season, 3 * season) if season < LONGEST_FRAMED_SEASON // 2 else (season, 3 * season // 2, 2 * season)
        )
        least = 4 * horizon if season < LONGEST_FRAMED_SEASON // 2 else 4 * season
        variants = [
            _frame(size, least + n * season // 2, base, "relative" if base > 1 else "between")
            for n, size in enumerate(sizes)
        ]
    else:
        sizes = (horizon, max(4, 2 * horizon // 3), max(6, 4 * horizon // 3))
        variants = [_frame(max(size, 3), max(4 * horizon, 8) + size // 2, 1, "between") for size in sizes]
    return tuple(variants[n % len(variants)] for n in range(members))


def _fold(size: int, context: int, base: int, *, skip: int, steps: int, draw: Literal["series", "windows"]) -> Design:
    return Design(
        kind="fold",
        size=size,
        context=context,
        base=base,
        skip=skip,
        weighting="between",
        draw=draw,
        steps=steps,
        batch_size=256,
        learning_rate=0.005,
    )


def _frame(size: int, context: int, base: int, weighting: Literal["relative", "between"]) -> Design:
    return Design(
        kind="frame",
        size=size,
        context=max(context, size + 1),
        base=base,
        skip=0,
        weighting=weighting,
        draw="series",
        steps=700,
        batch_size=128,
        learning_rate=0.004,
    )


def seasonal_share(panel: Panel, season: int) -> float:
    """The share of series whose autocorrelation at the season is significant; of at most 500, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(panel.series) - 1, min(_TESTED, len(panel.series))).astype(int))
    return float(np.mean([is_seasonal(panel.of(s), season) for s in chosen]))


def is_seasonal(values: Array, season: int) -> bool:
    """The test of the M4 competition: Makridakis, Spiliotis and Assimakopoulos (2020), for Naive2."""
    present = values[~np.isnan(values)]
    if len(present) < 3 * season:
        return False
    centred = present - present.mean()
    power = float(centred @ centred)
    if power == 0:
        return False
    correlation = np.array([centred[k:] @ centred[:-k] for k in range(1, season + 1)]) / power
    limit = _SIGNIFICANT * np.sqrt((1 + 2 * (correlation[:-1] ** 2).sum()) / len(present))
    return bool(abs(correlation[-1]) > limit)


def all_positive(values: Sequence[float] | Array) -> bool:
    """Whether logarithms can be taken; gaps do not count."""
    return bool((np.asarray(values)[~np.isnan(values)] > 0).all())
