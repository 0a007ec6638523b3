"""The rule that derives what the global network reads from the season, the horizon and the lengths of the series.

| panel | a step reads | context | base |
|---|---|---|---|
| season above 12 | one season | 14 seasons, or twice as many as most series have | last season |
| none such, but histories of 40 seasons or horizons, whichever is longer | one of these | 5 and 8 of these | last season |
| others with a season below 6 | the last 2 and 3 seasons | 4 horizons and more | last season |
| others with a season | the last 3 and 2 seasons; 1, 1½ and 2 of a panel with less than 20 or where changes do not repeat | 4 to 6 seasons | last season |
| others without a season, or without a series of two seasons and a horizon | one horizon, and three quarters of it | 4 horizons | last value |

The first two fold whole seasons into a step, with the loss at the end of the window. The others read frames, with the
loss at every position. The base is the last season where changes repeat after a season, otherwise the last value.
Every other member of the first kind reads the window without its profile: that of a longer season, such as the week of
hourly data, if there is one. Few or short series are fitted for fewer steps. Logarithms are taken where every value is
positive.
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

#: histories of at least so many horizons (or seasons) are folded too
LONG_HISTORY = 40
#: seasons of a whole panel from which on the network can learn how a season differs from the last one
MANY_SEASONS = 20
#: most series whose autocorrelation is computed
_MOST_SERIES = 500
#: autocorrelation of changes above which they are seasonal
_LEAST_AUTOCORRELATION = 0.15
#: most seasons that a window of folded seasons must have: half of its context
_MOST_SEASONS = 7
#: times that a typical value is forecast in a fit, from each distance; with more passes a small panel is overfitted
_PASSES = {"frame": 40, "fold": 4}
#: a small panel gets fewer steps down to this number, and only then smaller batches
_FEW_STEPS = 300
#: fewest steps and windows in each, for networks that read values alone and for those that read features too
FEWEST, FEWEST_WITH_FEATURES = (100, 16), (300, 32)


@dataclass(frozen=True, kw_only=True, slots=True)
class GlobalLSTMConfig:
    """What one member of the global network reads, and how it is fitted."""

    kind: Literal["fold", "frame"]
    #: periods that one step of the LSTM reads
    size: int
    #: periods of a window
    context: int
    #: periods of the season that is repeated as the base; 1: the last value
    base: int
    #: periods of the profile that is subtracted from the window; 0: none
    profile: int = 0
    #: newest values of the context that go straight to the output layer
    skip: int
    #: unit of the errors, see `losses.error_weight`
    weighting: Literal["relative", "scaled", "between", "half"]
    #: whether each series or each window is equally likely to be drawn
    draw: Literal["series", "windows"]
    #: gradient steps of the whole fit
    steps: int
    #: windows of a gradient step
    batch_size: int
    learning_rate: float
    #: units of the LSTM; None: the recipe's, as in models of earlier releases
    units: int | None = None
    #: pretrained network whose weights it starts from; None: it starts from its seed
    pretrained: str | None = None
    #: share of the way from the pretrained weights to the fitted ones that the weights are moved
    moved: float = 1.0
    #: of a frame: whether the base lies between the season and the last value, as seasonal as the window is
    gated: bool = False

    def __str__(self) -> str:
        """Describe the member as MLflow shows it."""
        text = (
            f"{self.kind} of {self.size} in {self.context}, base {self.base}{' gated' if self.gated else ''}, "
            f"profile {self.profile}, skip {self.skip}, "
            f"{self.weighting} error, "
            f"{self.steps} x {self.batch_size} windows by {self.draw}, learning rate {self.learning_rate:g}"
        )
        if self.units:
            text += f", {self.units} units"
        return f"{text}, moved by {self.moved:.0%} from pretrained {self.pretrained}" if self.pretrained else text

    @property
    def least_known(self) -> int:
        """Known values that a window must have: a whole base; where that is one value, half of a frame; half of a fold."""
        if self.kind == "fold":
            return self.context // 2
        return self.base if self.base > 1 else max(self.size // 2, 2)


def default_configs(
    panel: Panel, *, season: int, horizon: int, members: int, with_features: bool = False
) -> tuple[GlobalLSTMConfig, ...]:
    """Derive one configuration for each member.

    Members read different inputs, which helps their average more than different seeds do.

    Args:
        panel: series that the network is fitted on.
        season: periods of a season; 1: none.
        horizon: periods to forecast.
        members: number of members.
        with_features: whether the network reads features beside the values.
    """
    if int(panel.lengths.max()) < 2 * season + horizon:
        season = 1
    stride = max(season, horizon, 4)
    is_seasonal = season > 1 and changes_autocorrelation(panel, season) > _LEAST_AUTOCORRELATION
    base = season if is_seasonal else 1
    if season > LONGEST_FRAMED_SEASON:
        known = _seasons_known(panel, season, horizon)
        variants = [
            fold_config(
                season, 2 * known * season, base, profile=profile, skip=known * season, steps=2400, draw="series"
            )
            for profile in (0, _find_longer_season(panel, season, most=known))
        ]
    elif float(np.median(panel.lengths)) >= LONG_HISTORY * stride:
        variants = [fold_config(stride, n * stride, base, skip=5 * stride, steps=1500, draw="windows") for n in (5, 8)]
    elif season > 1:
        variants = _seasonal_frame_configs(season, horizon, base, num_seasons=int(panel.lengths.sum()) // season)
    else:
        sizes = (horizon, 3 * horizon // 4)
        variants = [frame_config(max(size, 3), max(4 * horizon, 8), 1, "half") for size in sizes]
    fewest = FEWEST_WITH_FEATURES if with_features else FEWEST
    return tuple(_limit_steps(variants[n % len(variants)], panel, horizon, fewest) for n in range(members))


def _seasonal_frame_configs(season: int, horizon: int, base: int, *, num_seasons: int) -> list[GlobalLSTMConfig]:
    """Configurations that read frames of whole or half seasons, for a panel that holds `num_seasons` in all."""
    if season < LONGEST_FRAMED_SEASON // 2:
        sizes = [(2 * season, 4 * horizon), (3 * season, 4 * horizon + season // 2)]
    elif base > 1 and num_seasons >= MANY_SEASONS:
        sizes = [(3 * season, 6 * season), (2 * season, 5 * season)]
    else:
        sizes = [((2 + n) * season // 2, (8 + n) * season // 2) for n in range(3)]
    return [frame_config(size, context, base, "relative" if base > 1 else "half") for size, context in sizes]


def _seasons_known(panel: Panel, season: int, horizon: int) -> int:
    """Whole seasons that most series have before a horizon, at most `_MOST_SEASONS`.

    Where most have less than two, those of the longest series.
    """
    usual, longest = ((int(length) - horizon) // season for length in (np.median(panel.lengths), panel.lengths.max()))
    return min(usual if usual >= 2 else longest, _MOST_SEASONS)


def _find_longer_season(panel: Panel, season: int, *, most: int) -> int:
    """Periods of the longer season, of at most so many seasons, after which changes repeat best, such as the week of hourly data.

    The season itself if its autocorrelation only fades with the distance; 0 if changes do not repeat at all.
    """
    autocorrelations = [changes_autocorrelation(panel, n * season) for n in range(1, most + 1)]
    best = int(np.argmax(autocorrelations[1:])) + 1
    if autocorrelations[best] <= autocorrelations[best - 1]:
        best = 0
    return (best + 1) * season if autocorrelations[best] > _LEAST_AUTOCORRELATION else 0


def _limit_steps(config: GlobalLSTMConfig, panel: Panel, horizon: int, fewest: tuple[int, int]) -> GlobalLSTMConfig:
    """Limit how often each window of a small panel is drawn: fewer steps first, then smaller batches.

    Not below the fewest steps and the smallest batch, which are `fewest`.
    """
    fewest_steps, smallest_batch = fewest
    most_drawn = int(_PASSES[config.kind] * _num_distinct_windows(config, panel, horizon))
    steps = min(config.steps, max(most_drawn // config.batch_size, _FEW_STEPS))
    batch_size = min(config.batch_size, max(most_drawn // steps, smallest_batch))
    return replace(config, steps=min(steps, max(most_drawn // batch_size, fewest_steps)), batch_size=batch_size)


def _num_distinct_windows(config: GlobalLSTMConfig, panel: Panel, horizon: int) -> float:
    """Windows of a panel; a window of frames has several positions, so that fewer windows hold all of them."""
    if config.kind == "frame":
        positions = max(int(np.median(panel.lengths)) - horizon, 1)
        return len(panel.series) * positions / min(positions, config.context - config.size + 1)
    return float(np.maximum(panel.lengths - horizon - config.least_known + 1, 0).sum())


def fold_config(
    size: int, context: int, base: int, *, skip: int, steps: int, draw: Literal["series", "windows"], profile: int = 0
) -> GlobalLSTMConfig:
    """A member that reads folded seasons, with the usual fit.

    Args:
        size: periods that one step reads.
        context: periods of a window.
        base: periods of the season that is repeated; 1: the last value.
        skip: newest values that go straight to the output layer.
        steps: gradient steps of the fit.
        draw: whether each series or each window is equally likely to be drawn.
        profile: periods of the profile that is subtracted; 0: none.
    """
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


def frame_config(size: int, context: int, base: int, weighting: Literal["relative", "half"]) -> GlobalLSTMConfig:
    """A member that reads frames, with the usual fit.

    Args:
        size: periods of a frame.
        context: periods of a window.
        base: periods of the season that is repeated; 1: the last value.
        weighting: see `losses.error_weight`.
    """
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
    """Autocorrelation of changes at a lag of one season: the mean over at most 500 series, evenly chosen.

    Changes are compared, because the values of any wandering series are autocorrelated at every lag.
    """
    num_chosen = min(_MOST_SERIES, len(panel.series))
    chosen = np.unique(np.linspace(0, len(panel.series) - 1, num_chosen).astype(int))
    return float(np.mean([_series_autocorrelation(panel.series_values(s), season) for s in chosen]))


def _series_autocorrelation(values: Array, lag: int) -> float:
    """Autocorrelation of the changes of one series [T], NaN where unknown; 0 where the series is too short.

    Changes of a positive series are those of its logarithms.
    """
    changes = np.diff(np.log(values) if all_positive(values) else values)
    is_known = ~np.isnan(changes)
    num_known = int(is_known.sum())
    if num_known < 2 * lag:
        return 0.0
    centred = np.where(is_known, changes - changes[is_known].mean(), 0.0)
    power, num_pairs = float(centred @ centred), int((is_known[lag:] & is_known[:-lag]).sum())
    if power <= 0 or not num_pairs:
        return 0.0
    return float(centred[lag:] @ centred[:-lag]) / power * num_known / num_pairs
