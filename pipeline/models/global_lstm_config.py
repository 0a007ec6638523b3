"""The rule by which the global network's inputs follow from the season, the horizon and the lengths of the series.

| panel | a step reads | context | base |
|---|---|---|---|
| season above 12 | one season | 14 seasons | last season |
| none such, but histories of 40 seasons or horizons, whichever is longer | one of these | 5 and 8 of these | last season |
| others with a season below 6 | the last 2 and 3 seasons | 4 horizons and more | last season |
| others with a season | the last 3 and 2 seasons; 1, 1½ and 2 of a panel with less than 20 or where changes do not repeat | 4 to 6 seasons | last season |
| others without | one horizon, and three quarters of it | 4 horizons | last value |

The first two fold whole seasons into a step and judge the end of the window; the others read frames and judge every
position. The last season is the base where changes repeat after a season, otherwise the last value. Every other member
of the first kind reads the window without its profile: over a longer season, such as the week of hours, if there is one.
Few or short series are fitted on for fewer steps. Logarithms are taken where every value is positive.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import LONGEST_FRAMED_SEASON
from pipeline.preprocessing.scaling import all_positive
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: histories of so many horizons are folded too
LONG_HISTORY = 40
#: seasons in all that show how one differs from the last
MANY_SEASONS = 20
#: series that the search for seasons looks at
_LOOKED_AT = 500
#: autocorrelation of changes above which they repeat
_ALIKE = 0.15
#: the longer season is at most so many seasons: half of a context
_LONGER = 7
#: how often a typical value is forecast in a fit, from each distance; with more, few series are known by heart
_PASSES = {"frame": 40, "fold": 4}
#: of a panel with few values, first the steps become fewer, then the windows of each
_FEW_STEPS = 300
#: steps and windows of each, for the values alone and for what features mean
FEWEST, FEWEST_WITH_FEATURES = (100, 16), (300, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalLSTMConfig:
    """What one member reads, and how it is fitted."""

    kind: Literal["fold", "frame"]
    #: periods that one step reads
    size: int
    context: int
    #: periods of the season that is repeated as the base; 1: the last value
    base: int
    #: periods of the profile that the window is read without; 0: as it is
    profile: int = 0
    #: newest values of the context that go straight to the output layer
    skip: int
    #: error relative to the value, to the window's own volatility, between the two, or half of each
    weighting: Literal["relative", "scaled", "between", "half"]
    #: whether each series or each window is as likely
    draw: Literal["series", "windows"]
    steps: int
    batch_size: int
    learning_rate: float

    def __str__(self) -> str:
        """As MLflow shows it."""
        return (
            f"{self.kind} of {self.size} in {self.context}, base {self.base}, profile {self.profile}, skip {self.skip}, "
            f"{self.weighting} error, "
            f"{self.steps} x {self.batch_size} windows by {self.draw}, learning rate {self.learning_rate:g}"
        )

    @property
    def least_known(self) -> int:
        """Values that a window has to have."""
        return 2 if self.kind == "frame" else self.context // 2


def default_configs(
    panel: Panel, *, season: int, horizon: int, members: int, with_features: bool = False
) -> tuple[GlobalLSTMConfig, ...]:
    """One design for each member; different inputs help an average more than different seeds."""
    stride = max(season, horizon, 4)
    base = season if season > 1 and changes_autocorrelation(panel, season) > _ALIKE else 1
    if season > LONGEST_FRAMED_SEASON:
        profiles = (0, _longer_season(panel, season))
        variants = [
            _fold(season, 14 * season, base, profile=profile, skip=7 * season, steps=2400, draw="series")
            for profile in profiles
        ]
    elif float(np.median(panel.lengths)) >= LONG_HISTORY * stride:
        variants = [_fold(stride, n * stride, base, skip=5 * stride, steps=1500, draw="windows") for n in (5, 8)]
    elif season > 1:
        variants = _framed_seasons(season, horizon, base, num_seasons=int(panel.lengths.sum()) // season)
    else:
        sizes = (horizon, 3 * horizon // 4)
        variants = [_frame(max(size, 3), max(4 * horizon, 8), 1, "half") for size in sizes]
    fewest = FEWEST_WITH_FEATURES if with_features else FEWEST
    return tuple(_paced(variants[n % len(variants)], panel, horizon, fewest) for n in range(members))


def _framed_seasons(season: int, horizon: int, base: int, *, num_seasons: int) -> list[GlobalLSTMConfig]:
    """Of a panel that holds so many seasons in all."""
    if season < LONGEST_FRAMED_SEASON // 2:
        reads = [(2 * season, 4 * horizon), (3 * season, 4 * horizon + season // 2)]
    elif base > 1 and num_seasons >= MANY_SEASONS:
        reads = [(3 * season, 6 * season), (2 * season, 5 * season)]
    else:
        reads = [((2 + n) * season // 2, (8 + n) * season // 2) for n in range(3)]
    return [_frame(size, context, base, "relative" if base > 1 else "half") for size, context in reads]


def _longer_season(panel: Panel, season: int) -> int:
    """Periods after which changes repeat best, such as the week of hours; the season if they only fade, 0 without one."""
    alike = [changes_autocorrelation(panel, n * season) for n in range(1, _LONGER + 1)]
    best = int(np.argmax(alike[1:])) + 1
    if alike[best] <= alike[best - 1]:
        best = 0
    return (best + 1) * season if alike[best] > _ALIKE else 0


def _paced(design: GlobalLSTMConfig, panel: Panel, horizon: int, fewest: tuple[int, int]) -> GlobalLSTMConfig:
    """Fewer steps, and then smaller ones, where the values are few; not less than the fewest steps and windows."""
    if design.kind == "frame":
        positions = max(int(np.median(panel.lengths)) - horizon, 1)
        windows = len(panel.series) * positions / min(positions, design.context - design.size + 1)
    else:
        windows = float(np.maximum(panel.lengths - horizon - design.least_known + 1, 0).sum())
    most = int(_PASSES[design.kind] * windows)
    steps = min(design.steps, max(most // design.batch_size, _FEW_STEPS))
    batch_size = min(design.batch_size, max(most // steps, fewest[1]))
    return replace(design, steps=min(steps, max(most // batch_size, fewest[0])), batch_size=batch_size)


def _fold(
    size: int, context: int, base: int, *, skip: int, steps: int, draw: Literal["series", "windows"], profile: int = 0
) -> GlobalLSTMConfig:
    return GlobalLSTMConfig(
        kind="fold",
        size=size,
        context=context,
        base=base,
        profile=profile,
        skip=skip,
        weighting="between",
        draw=draw,
        steps=steps,
        batch_size=256,
        learning_rate=0.005,
    )


def _frame(size: int, context: int, base: int, weighting: Literal["relative", "half"]) -> GlobalLSTMConfig:
    return GlobalLSTMConfig(
        kind="frame",
        size=size,
        context=max(context, size + 1),
        base=base,
        skip=0,
        weighting=weighting,
        draw="series",
        steps=900,
        batch_size=128,
        learning_rate=0.004,
    )


def changes_autocorrelation(panel: Panel, season: int) -> float:
    """How alike changes a season apart are: their autocorrelation, the mean over at most 500 series, evenly chosen.

    Of changes, since the values of any series that wanders are alike at every lag.
    """
    chosen = np.unique(np.linspace(0, len(panel.series) - 1, min(_LOOKED_AT, len(panel.series))).astype(int))
    return float(np.mean([_autocorrelation(panel.of(s), season) for s in chosen]))


def _autocorrelation(values: Array, lag: int) -> float:
    """Of the changes of one series, which are logarithmic where it is positive; 0 where it is too short."""
    changes = np.diff(np.log(values) if all_positive(values) else values)
    known = ~np.isnan(changes)
    if known.sum() < 2 * lag:
        return 0.0
    centred = np.where(known, changes - changes[known].mean(), 0.0)
    power, pairs = float(centred @ centred), int((known[lag:] & known[:-lag]).sum())
    return float(centred[lag:] @ centred[:-lag]) / power * int(known.sum()) / pairs if power > 0 and pairs else 0.0
