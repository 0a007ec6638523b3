"""Rolling origins: where they lie, what each may see, what was forecast there, and the scores beside the baselines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidArgument, NotEnoughHistory
from pipeline.evaluation.metrics import METRICS, Compared
from pipeline.forecasting.baselines import forecast_drift, forecast_naive, normal_quantiles, root_seasonal_scale
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.text import counted
from pipeline.timeseries.forecast import LEVELS, NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
#: by metric
Scores = dict[str, float | None]
#: by method and metric, one for each step, series or origin
ScoresOver = dict[str, dict[str, list[float | None]]]

#: origins where no number is asked for, if the history has so many
USUAL_ORIGINS = 3
BASELINES = ("naive", "seasonal-naive", "drift")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is asked for."""

    #: None: `USUAL_ORIGINS`, or as many as the history has
    num_origins: int | None = None
    #: periods from one origin to the next; None: the horizon
    every: int | None = None
    window: Literal["expanding", "sliding"] = "expanding"
    #: of a sliding window, its periods; None: those up to the first origin
    history: int | None = None
    refit: Literal["always", "once"] = "always"
    classical: bool = False
    #: what is known now instead of what was known then
    as_of_now: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One origin, and what was seen and fitted there."""

    origin: np.datetime64
    #: what was known at this instant …
    as_of: datetime
    #: "then": and nothing after the origin was; "cut": what was known of later periods was cut off
    known: Literal["then", "cut"]
    #: periods of history, from the first to the origin
    num_periods: int
    #: the last period that the network was fitted on
    cutoff: np.datetime64
    epochs: int
    num_series: int
    #: of these, how many by a simpler method than the network
    num_fallback: int
    data_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What one method says."""

    mean: Array  # [S, H], or from several origins [O, S, H]
    quantiles: Array  # [S, H, Q], or [O, S, H, Q]


@dataclass(frozen=True, kw_only=True, slots=True)
class FromOrigin:
    """What all methods said at one origin of the series that were known there."""

    origin: Origin
    series: tuple[str, ...]
    scale: Array  # [S]
    root_scale: Array  # [S]
    #: by method
    predicted: Mapping[str, Predicted]


@dataclass(frozen=True, kw_only=True, slots=True)
class RollingBacktest:
    """Forecasts from O origins of S series beside what is known by now; NaN where a series was not known yet."""

    plan: Plan
    #: hash of all that decides the numbers
    fingerprint: str
    origins: tuple[Origin, ...]
    series: tuple[str, ...]
    observed: Array  # [O, S, H]
    scale: Array  # [O, S, 1], mean absolute seasonal difference up to the origin
    root_scale: Array  # [O, S, 1], the same, root mean squared
    #: by method: the network first, then the baselines
    predicted: Mapping[str, Predicted]

    def scores(self) -> dict[str, Scores]:
        """By method and metric, over everything."""
        return {
            method: {name: _plain(metric.over(compared)) for name, metric in METRICS.items()}
            for method, compared in self._compared()
        }

    def by_step(self) -> ScoresOver:
        """By method and metric, one for each step."""
        return self._over((0, 1))

    def by_series(self) -> ScoresOver:
        """By method and metric, one for each series."""
        return self._over((0, 2))

    def by_origin(self) -> ScoresOver:
        """By method and metric, one for each origin."""
        return self._over((1, 2))

    @property
    def best_baseline(self) -> str:
        """The method with the least MASE beside the network; the first where none has one."""
        mase = {method: METRICS["mase"].over(compared) for method, compared in self._compared() if method != NETWORK}
        return min(mase, key=lambda method: float(np.nan_to_num(mase[method], nan=np.inf)))

    def _over(self, axis: tuple[int, ...]) -> ScoresOver:
        return {
            method: {name: [_plain(one) for one in metric.over(compared, axis)] for name, metric in METRICS.items()}
            for method, compared in self._compared()
        }

    def _compared(self) -> Iterator[tuple[str, Compared]]:
        for method, predicted in self.predicted.items():
            yield (
                method,
                Compared(
                    observed=self.observed,
                    mean=predicted.mean,
                    quantiles=predicted.quantiles,
                    levels=LEVELS,
                    scale=self.scale,
                    root_scale=self.root_scale,
                ),
            )


def origin_positions(panel: Panel, recipe: Recipe, plan: Plan) -> Positions:
    """Where the origins lie in the panel's grid, ascending: the last one a horizon before the newest period.

    Raises:
        InvalidArgument: a sliding window is too short to fit on.
        NotEnoughHistory: the history has not as many; the message says how many are possible.
    """
    least = recipe.least_history
    if plan.history is not None and plan.history < least:
        raise InvalidArgument(f"--history {plan.history} is too short to fit on: {recipe.name} needs {least} periods")
    every = plan.every or recipe.horizon
    last = len(panel.grid) - 1 - recipe.horizon
    long = panel.lengths >= least
    earliest = int((panel.first[long] + least - 1).min(initial=len(panel.grid)))
    earliest = max(earliest, (plan.history or 1) - 1)
    possible = max((last - earliest) // every + 1, 0)
    asked = plan.num_origins or max(min(USUAL_ORIGINS, possible), 1)
    if asked > possible:
        instead = f"ask for at most {possible}" if possible else "wait for more, or shorten horizon"
        raise NotEnoughHistory(
            f"the {counted(len(panel.grid), 'period')} of {recipe.name} have room for {counted(possible, 'origin')} "
            f"{counted(every, 'period')} apart, before each at least {max(least, plan.history or 0)} to fit on and after it "
            f"{recipe.horizon} to score; {asked} asked for: {instead}"
        )
    return last - every * np.arange(asked)[::-1]


def window_of(panel: Panel, plan: Plan, first_length: int) -> Panel:
    """What of the history up to an origin is used: all of it, or its last periods.

    Args:
        panel: up to the origin.
        plan: which window.
        first_length: periods up to the first origin.
    """
    if plan.window == "expanding":
        return panel
    return panel.since(max(len(panel.grid) - (plan.history or first_length), 0))


def from_origin(
    origin: Origin, panel: Panel, made: Forecast, recipe: Recipe, others: Mapping[str, Predicted]
) -> FromOrigin:
    """What the network and the baselines say at one origin, all within the recipe's bounds.

    Args:
        origin: which.
        panel: what was seen there.
        made: what would have been published.
        recipe: whose bounds and season.
        others: what further methods say.
    """
    straight, by_period = forecast_drift(panel, made.horizon), forecast_naive(panel, made.horizon, 1)
    by_season = forecast_naive(panel, made.horizon, recipe.season)
    baselines = [(by_period.mean, by_period.deviation), (by_season.mean, by_season.deviation), straight]
    told = {
        name: Predicted(mean=mean, quantiles=normal_quantiles(mean, deviation))
        for name, (mean, deviation) in zip(BASELINES, baselines, strict=True)
    }
    low, high = recipe.publish.minimum, recipe.publish.maximum
    bounded = {
        name: Predicted(mean=np.clip(one.mean, low, high), quantiles=np.clip(one.quantiles, low, high))
        for name, one in {**told, **others}.items()
    }
    return FromOrigin(
        origin=origin,
        series=panel.series,
        scale=made.scale,
        root_scale=root_seasonal_scale(panel, recipe.season),
        predicted={NETWORK: Predicted(mean=made.mean, quantiles=made.quantiles), **bounded},
    )


def assembled(
    parts: Sequence[FromOrigin], present: Panel, positions: Positions, plan: Plan, fingerprint: str
) -> RollingBacktest:
    """What was said at all origins, beside what is known by now.

    Args:
        parts: one for each origin.
        present: what is known now.
        positions: of the origins in its grid.
        plan: what was asked for.
        fingerprint: of the backtest.
    """
    series = tuple(sorted({name for part in parts for name in part.series}))
    horizon = parts[0].predicted[NETWORK].mean.shape[1]
    row = {name: s for s, name in enumerate(series)}
    rows = [np.array([row[name] for name in part.series], np.int64) for part in parts]

    def together(arrays: Sequence[Array]) -> Array:
        whole = np.full((len(parts), len(series), *arrays[0].shape[1:]), np.nan)
        for n, (where, values) in enumerate(zip(rows, arrays, strict=True)):
            whole[n, where] = values
        return whole

    return RollingBacktest(
        plan=plan,
        fingerprint=fingerprint,
        origins=tuple(part.origin for part in parts),
        series=series,
        observed=_observed(present, series, positions, horizon),
        scale=together([part.scale[:, None] for part in parts]),
        root_scale=together([part.root_scale[:, None] for part in parts]),
        predicted={
            method: Predicted(
                mean=together([part.predicted[method].mean for part in parts]),
                quantiles=together([part.predicted[method].quantiles for part in parts]),
            )
            for method in parts[0].predicted
        },
    )


def fingerprint_of(recipe: Recipe, plan: Plan, panels: Sequence[Panel], present: Panel, code_version: str) -> str:
    """Hash of all that decides a backtest's numbers: the same backtest again has the same."""
    told = {
        "recipe": recipe.fingerprint,
        "plan": asdict(plan),
        "origins": [str(panel.origin) for panel in panels],
        "histories": [panel.data_hash for panel in panels],
        "observed": present.data_hash,
        "code": code_version,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _observed(panel: Panel, series: Sequence[str], positions: Positions, horizon: int) -> Array:
    """Of each origin and series the values after it: [O, S, H]."""
    index = {name: s for s, name in enumerate(panel.series)}
    which = np.array([index.get(name, -1) for name in series], np.int64)
    windows = Windows(np.tile(which, len(positions)), np.repeat(positions, len(series)))
    observed = read_targets(panel, windows, horizon).reshape(len(positions), len(series), horizon)
    observed[:, which < 0] = np.nan
    return observed


def _plain(value: Array) -> float | None:
    return float(value) if np.isfinite(value) else None
