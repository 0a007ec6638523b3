"""Sample paths of a published forecast: steps depend on each other as in the network, and spread as was published.

A path of the network is drawn step by step: the first step from the network's distribution; it is appended to the
context, the network forecasts from there, and so on up to the horizon. The random scores of successive steps are
autocorrelated as the network's one-step errors were (pipeline/forecasting/error_autocorrelation.py).

Of these paths only the ranks are kept. At each step the published distribution is sampled, one value from each of as many
equal shares of probability as there are paths, and the values are given to the paths in the order of their ranks. So the
paths move together as the network's do, and at each single step they agree with what was published, calibrated and
bounded: ensemble copula coupling (Schefzik, Thorarinsdottir and Gneiting 2013, Statistical Science 28) of a stratified
sample (Hu et al. 2016, Water Resources Research 52). With ranks of past values it would be the Schaake shuffle (Clark et al. 2004, Journal
of Hydrometeorology 5). Where a baseline stands in, the paths are random walks with the deviation of its intervals.

Where the published mean is not that of the quantiles, as of intermittent demand, it is matched between and beyond them.

Paths are drawn in blocks, each with random numbers of its own: a larger number of paths begins with those of a smaller
one. Paths of different series are independent.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from pipeline.config.recipe import Recipe
from pipeline.errors import InvalidArgument
from pipeline.forecasting.baselines import NaiveForecast, forecast_naive
from pipeline.forecasting.error_autocorrelation import (
    baseline_error_scores,
    lag1_autocorrelation,
    network_error_scores,
)
from pipeline.forecasting.expected_value import expected_values
from pipeline.forecasting.fallback import MAX_RANGES_AWAY
from pipeline.forecasting.forecaster import Forecaster, prepare_inputs_from_contexts
from pipeline.forecasting.quantile_function import values_at_scores
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.windows import Windows, read_contexts
from pipeline.text import counted
from pipeline.timeseries.forecast import LEVELS, NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: paths that are drawn and ranked together
PATHS_PER_BLOCK = 100
#: rows that one command may ask for: about a gigabyte in a database
MAX_ROWS = 20_000_000
#: blocks that are being drawn or wait to be taken
_BLOCKS_AHEAD = 64
#: means that differ by less than this share of the interval are the same
_SAME_MEAN = 1e-3
_LARGEST = float(np.finfo(np.float64).max)


def require_feasible_paths(num_paths: int, forecast: Forecast) -> None:
    """Refuse a number of paths of a forecast that cannot be drawn.

    Raises:
        InvalidArgument: it is less than 1, or more than `MAX_ROWS` rows.
    """
    if num_paths < 1:
        raise InvalidArgument(f"{num_paths} paths were asked for: expected at least 1")
    num_rows = num_paths * forecast.num_rows
    if num_rows > MAX_ROWS:
        raise InvalidArgument(
            f"{num_paths:,} paths of {len(forecast.series):,} series over {counted(forecast.horizon, 'step')} are "
            f"{num_rows:,} rows: expected at most {MAX_ROWS:,}, which are {MAX_ROWS // forecast.num_rows:,} paths here"
        )


def default_seed(run_id: str) -> int:
    """The seed of a run's paths where none is given: the same on any machine."""
    return _hash_to_number(run_id) % 2**32


def _hash_to_number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSampler:
    """Draws the paths of one forecast. Index s is that of a series in the forecast, p that in the panel."""

    forecaster: Forecaster
    forecast: Forecast
    #: up to the origin, and then H periods without values
    panel: Panel
    features: FeatureArrays
    #: p for each s
    panel_index: tuple[int, ...]
    #: of each p
    baseline: NaiveForecast
    #: of the errors of each s
    autocorrelation: Array
    recipe: Recipe
    seed: int

    def draw_block(self, s: int, block: int) -> Array:
        """Paths number `block * PATHS_PER_BLOCK + 1` and following of series s: [PATHS_PER_BLOCK, H].

        They depend on the seed, the series' name and the block alone.
        """
        forecast, p = self.forecast, self.panel_index[s]
        rng = np.random.default_rng([self.seed, _hash_to_number(forecast.series[s]), block])
        shape = (PATHS_PER_BLOCK, forecast.horizon)
        scores = correlate_scores(rng.standard_normal(shape), float(self.autocorrelation[s]))
        jitter = rng.random(shape)
        is_network = forecast.method[s] == NETWORK
        logarithms = is_network and self.forecaster.scaling.logarithms
        return couple_ranks(
            self.feed_back(p, scores) if is_network else self.walk_randomly(p, scores),
            forecast.quantiles[s],
            ties=scores,
            jitter=jitter,
            logarithms=logarithms,
            mean=self._mean_to_match(s, logarithms),
            minimum=self.recipe.publish.minimum,
            maximum=self.recipe.publish.maximum,
        )

    def feed_back(self, p: int, scores: Array) -> Array:
        """Paths [N, H] of the panel's series p: each step is drawn from the network's forecast after the steps before.

        Args:
            p: index of the series in the panel.
            scores: standard normal scores at which the steps are drawn, [N, H].
        """
        scaling = self.forecaster.scaling
        origin = len(self.panel.grid) - self.forecast.horizon - 1
        window = Windows(np.array([p]), np.array([origin]))
        context, is_observed = read_contexts(self.panel, window, self.forecaster.needs.context)
        low, high = self._plausible_bounds(context[0], is_observed[0])
        paths = np.empty_like(scores)
        for step, step_scores in enumerate(scores.T):
            # one window at the first step, then one for each path
            windows = Windows(np.full(len(context), p), np.full(len(context), origin + step))
            contexts = (context, is_observed)
            inputs = prepare_inputs_from_contexts(self.panel, self.features, windows, contexts, scaling)
            with np.errstate(over="ignore", invalid="ignore"):
                outputs = self.forecaster.run_network(inputs.inputs)
                next_step = self.forecaster.to_quantiles(outputs, inputs)[:, 0]  # [1, Q], then [N, Q]
                values = values_at_scores(next_step, step_scores, logarithms=scaling.logarithms)
            paths[:, step] = np.clip(np.where(np.isnan(values), context[:, -1], values), low, high)
            context = _shift_in(context, paths[:, step])
            is_observed = _shift_in(is_observed, np.ones(len(paths), bool))
        return paths

    def walk_randomly(self, p: int, scores: Array) -> Array:
        """Paths [N, H] around the baseline of the panel's series p: a random walk, by seasons where it repeats a season.

        The standard deviation of each step is that of the baseline's intervals. Paths are centred at 0: only their
        ranks are used.

        Args:
            p: index of the series in the panel.
            scores: standard normal scores of the walk's increments, [N, H].
        """
        lag = _lag(self.baseline, p, self.recipe)
        variance = np.square(self.baseline.deviation[p])
        variance_before = np.concatenate([np.zeros(lag), variance])[: len(variance)]
        paths: Array = scores * np.sqrt(np.maximum(variance - variance_before, 0.0))
        for step in range(lag, len(variance)):
            paths[:, step] += paths[:, step - lag]
        return paths

    def _mean_to_match(self, s: int, logarithms: bool) -> Array | None:
        """The published means [H] of series s where they are not those of its quantiles, NaN elsewhere; None: nowhere."""
        quantiles, mean = self.forecast.quantiles[s], self.forecast.mean[s]
        difference = np.abs(mean - expected_values(quantiles, logarithms=logarithms))
        is_other = difference > _SAME_MEAN * (quantiles[:, -1] - quantiles[:, 0]) + _SAME_MEAN * np.abs(mean)
        return np.where(is_other, mean, np.nan) if is_other.any() else None

    def _plausible_bounds(self, context: Array, is_observed: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Bounds of the values that are fed back: the recipe's, and as near to the context as a published mean."""
        observed = context[is_observed]
        last = float(observed[-1])
        value_range = float(np.ptp(observed)) or max(abs(last), 1.0)
        low, high = last - MAX_RANGES_AWAY * value_range, last + MAX_RANGES_AWAY * value_range
        if self.forecaster.scaling.logarithms:
            low = float(observed.min()) / MAX_RANGES_AWAY
        minimum, maximum = self.recipe.publish.minimum, self.recipe.publish.maximum
        low = low if minimum is None else max(low, minimum)
        return low, max(low, high if maximum is None else min(high, maximum))


def build_sampler(forecaster: Forecaster, panel: Panel, forecast: Forecast, recipe: Recipe, seed: int) -> PathSampler:
    """The sampler of a published forecast's paths.

    After the origin known-ahead covariates are read as far as they are known. Then they, and covariates known up to the
    origin only, keep their last values.

    Args:
        forecaster: that made the forecast.
        panel: that it was made from.
        forecast: as it was published.
        recipe: whose bounds hold.
        seed: of the random numbers.
    """
    extended = _extend(panel, forecast.periods)
    features = forecaster.features.transform(extended)
    index_of = {name: p for p, name in enumerate(panel.series)}
    panel_index = tuple(index_of[name] for name in forecast.series)
    baseline = forecast_naive(panel, forecast.horizon, recipe.season)

    origin, num_scored = len(panel.grid) - 1, recipe.scale_window
    is_network = np.array([method == NETWORK for method in forecast.method], bool)
    by_network = [panel_index[s] for s in np.flatnonzero(is_network)]
    by_baseline = [panel_index[s] for s in np.flatnonzero(~is_network)]
    network_scores = network_error_scores(forecaster, extended, features, origin, by_network, num_scored)
    lags = [_lag(baseline, p, recipe) for p in by_baseline]
    baseline_scores = baseline_error_scores(panel, origin, by_baseline, lags, num_scored)
    autocorrelation = np.zeros(len(panel_index))
    autocorrelation[is_network] = lag1_autocorrelation(network_scores)
    autocorrelation[~is_network] = lag1_autocorrelation(baseline_scores)
    return PathSampler(
        forecaster=forecaster,
        forecast=forecast,
        panel=extended,
        features=features,
        panel_index=panel_index,
        baseline=baseline,
        autocorrelation=autocorrelation,
        recipe=recipe,
        seed=seed,
    )


def draw_paths(sampler: PathSampler, first: int, last: int) -> Iterator[Array]:
    """The paths numbered `first` to `last`, both included, of each of the forecast's series in turn.

    Yields:
        [n, H]: one or more parts for each series, in the order of the paths.
    """
    blocks = range((first - 1) // PATHS_PER_BLOCK, (last - 1) // PATHS_PER_BLOCK + 1)
    waiting = product(range(len(sampler.forecast.series)), blocks)

    def draw_part(series_and_block: tuple[int, int]) -> Array:
        before = series_and_block[1] * PATHS_PER_BLOCK
        return sampler.draw_block(*series_and_block)[max(first - 1 - before, 0) : last - before]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        while batch := list(islice(waiting, _BLOCKS_AHEAD)):
            yield from threads.map(draw_part, batch)


def correlate_scores(scores: Array, autocorrelation: float) -> Array:
    """Turn independent standard normal scores [N, H] into a stationary AR(1) process over the steps, of unit variance."""
    correlated = scores.copy()
    for step in range(1, scores.shape[1]):
        innovation = np.sqrt(1 - autocorrelation**2) * scores[:, step]
        correlated[:, step] = autocorrelation * correlated[:, step - 1] + innovation
    return correlated


def couple_ranks(
    paths: Array,
    quantiles: Array,
    *,
    ties: Array,
    jitter: Array,
    logarithms: bool = False,
    mean: Array | None = None,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Array:
    """Ensemble copula coupling: a stratified sample of each step's distribution, in the order of the paths' ranks [N, H].

    Args:
        paths: whose ranks are taken, [N, H].
        quantiles: of each step's distribution, [H, Q].
        ties: decide the ranks of equal paths, [N, H].
        jitter: position of each value in its share 1 / N of the probability, from 0 to below 1, [N, H].
        logarithms: interpolate the quantiles' logarithms, see `values_at_scores`.
        mean: of each step, [H], to match between and beyond the quantiles; NaN where it is theirs; None: of all steps.
        minimum: lower bound of all values.
        maximum: upper bound of all values.
    """
    order = np.lexsort((ties, paths), axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(paths))[:, None], axis=0)
    level = np.maximum((rank + jitter) / len(paths), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        values = values_at_scores(quantiles, ndtri(level), logarithms=logarithms)
    if mean is not None:
        values = _match_means(values, level, quantiles, mean)
    return np.clip(values, -_LARGEST if minimum is None else minimum, _LARGEST if maximum is None else maximum)


def _match_means(values: Array, level: Array, quantiles: Array, mean: Array) -> Array:
    """Values [N, H] whose mean is another one, with the same quantiles.

    A higher mean comes from beyond the outermost level, in proportion to an exponential tail. A lower one comes from values
    that move towards the quantile below them, at most onto it.

    Args:
        values: [N, H], at
        level: probabilities, [N, H].
        quantiles: of each step, [H, Q].
        mean: of each step, [H]; NaN: it stays.
    """
    missing = np.nan_to_num(mean - values.mean(axis=0))  # [H]
    tail = np.log((1 - LEVELS[-1]) / np.clip(1 - level, 1e-12, 1 - LEVELS[-1]))
    total = tail.sum(axis=0)
    raised = values + np.maximum(missing, 0.0) * len(values) * tail / np.where(total > 0, total, 1.0)
    below = np.searchsorted(LEVELS, level) - 1  # [N, H]
    floor = np.where(below >= 0, np.take_along_axis(quantiles.T, np.maximum(below, 0), axis=0), values)
    room = np.maximum(values - floor, 0.0)
    total = room.sum(axis=0)
    share = np.clip(np.maximum(-missing, 0.0) * len(values) / np.where(total > 0, total, 1.0), 0.0, 1.0)
    return np.asarray(raised - share * room)


def _lag(baseline: NaiveForecast, p: int, recipe: Recipe) -> int:
    """Periods back to the value that the baseline of the panel's series p repeats."""
    return recipe.season if baseline.method[p] == "seasonal-naive" else 1


def _shift_in(windows: npt.NDArray[Any], newest: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Windows [N, L], or one for all [1, L], without their first period and with a newest one [N]: [N, L]."""
    kept = np.broadcast_to(windows[:, 1:], (len(newest), windows.shape[1] - 1))
    return np.concatenate([kept, newest[:, None]], axis=1)


def _extend(panel: Panel, periods: npt.NDArray[np.datetime64]) -> Panel:
    """The panel with further periods after the origin, at which every series has NaN."""
    count, ends = len(periods), panel.offsets[1:]
    ends_ahead = ends + panel.ahead * np.arange(1, len(ends) + 1)  # known-ahead covariates reach beyond the origin

    def with_gaps(values: Array, at: npt.NDArray[np.int64]) -> Array:
        return np.insert(values, np.repeat(at, count), np.nan)

    return replace(
        panel,
        grid=np.append(panel.grid, periods),
        offsets=panel.offsets + count * np.arange(len(panel.offsets)),
        values=with_gaps(panel.values, ends),
        past={name: with_gaps(values, ends) for name, values in panel.past.items()},
        future={name: with_gaps(values, ends_ahead) for name, values in panel.future.items()},
    )
