"""Rolling-origin backtest: where the origins lie, what each may use, and the scores of all methods over them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidArgument, NotEnoughHistory
from pipeline.evaluation.metrics import MASE, METRICS, EvaluationSet
from pipeline.forecasting.baselines import forecast_drift, forecast_naive, normal_quantiles, root_seasonal_scale
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.text import counted
from pipeline.timeseries.forecast import MEDIAN, NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]
#: by metric; None where it cannot be measured
Scores = dict[str, float | None]
#: by method and metric, one value for each step, series or origin
ScoresOver = dict[str, dict[str, list[float | None]]]

#: origins if no number is given and the history has so many
DEFAULT_ORIGINS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class BacktestPlan:
    """Which origins to use, and how to fit and forecast at each."""

    #: None: `DEFAULT_ORIGINS`, or as many as the history has
    num_origins: int | None = None
    #: periods from one origin to the next; None: the horizon
    every: int | None = None
    window: Literal["expanding", "sliding"] = "expanding"
    #: periods in a sliding window; None: those up to the first origin
    history: int | None = None
    #: fit a network at each origin, or only at the first
    refit: Literal["always", "once"] = "always"
    #: compare with the statistical methods, too
    classical: bool = False
    #: use the values of now instead of those recorded by each origin
    as_of_now: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """One origin, with the data and the fit that were used there."""

    origin: np.datetime64
    #: the instant as of which the data were read
    as_of: datetime
    #: "then": nothing after the origin was recorded at that instant; "cut": later periods were, and were cut off
    known: Literal["then", "cut"]
    #: periods of history, from the first one to the origin, both included
    num_periods: int
    #: the last period that the network was fitted on
    cutoff: np.datetime64
    epochs: int
    num_series: int
    #: of these, the series that a baseline forecast in place of the network
    num_fallback: int
    data_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodForecast:
    """The forecasts of one method."""

    mean: Array  # [S, H], or of several origins [O, S, H]
    quantiles: Array  # [S, H, Q], or [O, S, H, Q]


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginForecasts:
    """The forecasts of all methods from one origin, of the S series that were known there."""

    origin: Origin
    series: tuple[str, ...]
    scale: Array  # [S]
    root_scale: Array  # [S]
    #: by method
    forecasts: Mapping[str, MethodForecast]


@dataclass(frozen=True, kw_only=True, slots=True)
class RollingBacktest:
    """Forecasts from O origins of S series next to the observed values; NaN where a series was not known at an origin."""

    plan: BacktestPlan
    #: hash of everything that decides the numbers
    fingerprint: str
    origins: tuple[Origin, ...]
    series: tuple[str, ...]
    observed: Array  # [O, S, H], as recorded by now
    scale: Array  # [O, S, 1], mean absolute seasonal difference up to the origin
    root_scale: Array  # [O, S, 1], root mean squared seasonal difference up to the origin
    #: by method: the network first, then the baselines
    forecasts: Mapping[str, MethodForecast]

    def scores(self) -> dict[str, Scores]:
        """By method and metric, over all origins, series and steps."""
        return {
            method: {name: _or_none(metric.over(data)) for name, metric in METRICS.items()}
            for method, data in self._evaluation_sets().items()
        }

    def by_step(self) -> ScoresOver:
        """By method and metric, one value for each step."""
        return self._scores_over((0, 1))

    def by_series(self) -> ScoresOver:
        """By method and metric, one value for each series."""
        return self._scores_over((0, 2))

    def by_origin(self) -> ScoresOver:
        """By method and metric, one value for each origin."""
        return self._scores_over((1, 2))

    @property
    def best_baseline(self) -> str:
        """The method with the lowest MASE apart from the network; the first one where none can be measured."""
        sets = self._evaluation_sets()
        mase = {method: float(MASE.over(data)) for method, data in sets.items() if method != NETWORK}
        return min(mase, key=lambda method: np.nan_to_num(mase[method], nan=np.inf))

    def _scores_over(self, axis: tuple[int, ...]) -> ScoresOver:
        return {
            method: {name: [_or_none(value) for value in metric.over(data, axis)] for name, metric in METRICS.items()}
            for method, data in self._evaluation_sets().items()
        }

    def _evaluation_sets(self) -> dict[str, EvaluationSet]:
        return {
            method: EvaluationSet(
                observed=self.observed,
                mean=forecast.mean,
                quantiles=forecast.quantiles,
                scale=self.scale,
                root_scale=self.root_scale,
                median=forecast.quantiles[..., MEDIAN],
            )
            for method, forecast in self.forecasts.items()
        }


def place_origins(panel: Panel, recipe: Recipe, plan: BacktestPlan) -> Positions:
    """Positions of the origins in the panel's grid, ascending; the last one lies a horizon before the newest period.

    Raises:
        InvalidArgument: a sliding window is too short to fit on.
        NotEnoughHistory: there is no room for so many origins; the message says for how many there is.
    """
    least = recipe.least_history
    if plan.history is not None and plan.history < least:
        raise InvalidArgument(
            f"--history {plan.history} is too short to fit on: {recipe.name} needs {counted(least, 'period')}"
        )
    every = plan.every or recipe.horizon
    last = len(panel.grid) - 1 - recipe.horizon
    is_long = panel.lengths >= least
    earliest = int((panel.first[is_long] + least - 1).min(initial=len(panel.grid)))
    earliest = max(earliest, (plan.history or 1) - 1)
    num_possible = max((last - earliest) // every + 1, 0)
    num_origins = plan.num_origins or max(min(DEFAULT_ORIGINS, num_possible), 1)
    if num_origins > num_possible:
        remedy = f"ask for at most {num_possible}" if num_possible else "wait for more, or shorten horizon"
        raise NotEnoughHistory(
            f"the {counted(len(panel.grid), 'period')} of {recipe.name} have room for {counted(num_possible, 'origin')} "
            f"{counted(every, 'period')} apart, before each at least {max(least, plan.history or 0)} to fit on and after it "
            f"{recipe.horizon} to score; {num_origins} asked for: {remedy}"
        )
    return last - every * np.arange(num_origins)[::-1]


def select_window(panel: Panel, plan: BacktestPlan, first_length: int) -> Panel:
    """The part of the history that is used at an origin: all of it, or its last periods.

    Args:
        panel: up to the origin.
        plan: which window.
        first_length: periods up to the first origin.
    """
    if plan.window == "expanding":
        return panel
    return panel.since(max(len(panel.grid) - (plan.history or first_length), 0))


def collect_forecasts(
    origin: Origin, panel: Panel, forecast: Forecast, recipe: Recipe, others: Mapping[str, MethodForecast]
) -> OriginForecasts:
    """The forecasts of the network, the baselines and further methods at one origin, within the recipe's bounds.

    Args:
        origin: which one.
        panel: the data that were used there.
        forecast: as it would have been published.
        recipe: its bounds and season.
        others: forecasts of further methods, by name.
    """
    by_period = forecast_naive(panel, forecast.horizon, 1)
    by_season = forecast_naive(panel, forecast.horizon, recipe.season)
    drift_mean, drift_deviation = forecast_drift(panel, forecast.horizon, recipe.season)
    unbounded = {
        "naive": MethodForecast(mean=by_period.mean, quantiles=by_period.quantiles),
        "seasonal-naive": MethodForecast(mean=by_season.mean, quantiles=by_season.quantiles),
        "drift": MethodForecast(mean=drift_mean, quantiles=normal_quantiles(drift_mean, drift_deviation)),
        **others,
    }
    low, high = recipe.publish.minimum, recipe.publish.maximum
    bounded = {
        name: MethodForecast(mean=np.clip(method.mean, low, high), quantiles=np.clip(method.quantiles, low, high))
        for name, method in unbounded.items()
    }
    return OriginForecasts(
        origin=origin,
        series=panel.series,
        scale=forecast.scale,
        root_scale=root_seasonal_scale(panel, recipe.season),
        forecasts={NETWORK: MethodForecast(mean=forecast.mean, quantiles=forecast.quantiles), **bounded},
    )


def combine_origins(
    parts: Sequence[OriginForecasts], present: Panel, positions: Positions, plan: BacktestPlan, fingerprint: str
) -> RollingBacktest:
    """The forecasts from all origins next to the values recorded by now.

    Args:
        parts: one for each of O origins.
        present: the values recorded by now.
        positions: of the origins in its grid, [O].
        plan: of the backtest.
        fingerprint: of the backtest.
    """
    series = tuple(sorted({name for part in parts for name in part.series}))
    horizon = parts[0].forecasts[NETWORK].mean.shape[1]
    row_of = {name: s for s, name in enumerate(series)}
    rows = [np.array([row_of[name] for name in part.series], np.int64) for part in parts]
    forecasts = {}
    for method in parts[0].forecasts:
        of_method = [part.forecasts[method] for part in parts]
        forecasts[method] = MethodForecast(
            mean=_stack([forecast.mean for forecast in of_method], rows, len(series)),
            quantiles=_stack([forecast.quantiles for forecast in of_method], rows, len(series)),
        )
    return RollingBacktest(
        plan=plan,
        fingerprint=fingerprint,
        origins=tuple(part.origin for part in parts),
        series=series,
        observed=_observed(present, series, positions, horizon),
        scale=_stack([part.scale[:, None] for part in parts], rows, len(series)),
        root_scale=_stack([part.root_scale[:, None] for part in parts], rows, len(series)),
        forecasts=forecasts,
    )


def _stack(arrays: Sequence[Array], rows: Sequence[Positions], num_series: int) -> Array:
    """Arrays [s, ...] of single origins as one array [O, S, ...], NaN for series that an origin does not have.

    Args:
        arrays: one for each origin.
        rows: for each origin, the row of each of its s series among all.
        num_series: S.
    """
    stacked = np.full((len(arrays), num_series, *arrays[0].shape[1:]), np.nan)
    for n, (array, origin_rows) in enumerate(zip(arrays, rows, strict=True)):
        stacked[n, origin_rows] = array
    return stacked


def hash_backtest(
    recipe: Recipe, plan: BacktestPlan, panels: Sequence[Panel], present: Panel, code_version: str
) -> str:
    """The fingerprint of a backtest: a hash of everything that decides its numbers.

    Args:
        recipe: of the backtest.
        plan: of the backtest.
        panels: the data used at each origin.
        present: the values recorded by now.
        code_version: of the code that computes it.
    """
    inputs = {
        "recipe": recipe.fingerprint,
        "plan": asdict(plan),
        "origins": [str(panel.origin) for panel in panels],
        "histories": [panel.data_hash for panel in panels],
        "observed": present.data_hash,
        "code": code_version,
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _observed(panel: Panel, series: Sequence[str], positions: Positions, horizon: int) -> Array:
    """The H values of each series after each origin: [O, S, H]; NaN for a series that the panel does not have."""
    index_of = {name: s for s, name in enumerate(panel.series)}
    index = np.array([index_of.get(name, -1) for name in series], np.int64)
    windows = Windows(np.tile(index, len(positions)), np.repeat(positions, len(series)))
    observed = read_targets(panel, windows, horizon).reshape(len(positions), len(series), horizon)
    observed[:, index < 0] = np.nan
    return observed


def _or_none(value: Array) -> float | None:
    return float(value) if np.isfinite(value) else None
