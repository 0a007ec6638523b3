"""Scenarios: paths over the horizon whose steps follow each other as the network has it, and that spread as was published.

How steps depend on each other is found by feeding back: a first step is drawn from the network's distribution and
appended to the context, the network forecasts from there, a second step is drawn, up to the horizon. How far from the
middle each is drawn is not independent of the step before, but carried on from it as the network's errors were in the past
(pipeline/persistence.py). Of these paths only the ranks are kept: at each step the published distribution is sampled, one value from each of as many equal shares of
probability as there are paths, and the values are handed to the paths in the order of their ranks. So paths rise and fall
together as the network has it, and at each step alone they agree with what was published, calibrated and bounded as it is:
ensemble copula coupling (Schefzik, Thorarinsdottir and Gneiting 2013) of a stratified sample (Hu et al. 2016); with ranks
of past values it would be the Schaake shuffle (Clark et al. 2004). A baseline that stands in walks as its intervals do.

Paths are drawn and coupled in blocks, each with random numbers of its own: more paths begin with the fewer ones. Paths of
different series are drawn apart from each other.
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
from pipeline.forecasting.baselines import Repeated, repeated
from pipeline.forecasting.error_autocorrelation import past_differences, past_scores, persistence
from pipeline.forecasting.fallback import BELIEVABLE
from pipeline.forecasting.forecaster import Forecaster, prepare_inputs_from_contexts
from pipeline.forecasting.quantile_function import at_scores
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.windows import Windows, contexts_of
from pipeline.text import counted
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: paths that are drawn and coupled together
BLOCK = 100
#: rows that one command may ask for: about a gigabyte in a database
MOST_ROWS = 20_000_000
#: blocks that are under way or wait to be taken
_UNDER_WAY = 64
_LARGEST = float(np.finfo(np.float64).max)


def refuse_too_many(num_paths: int, forecast: Forecast) -> None:
    """See that so many paths of a forecast may be asked for.

    Raises:
        InvalidArgument: it is none, or more rows than `MOST_ROWS`.
    """
    if num_paths < 1:
        raise InvalidArgument(f"{num_paths} paths were asked for: expected at least 1")
    num_rows = num_paths * forecast.num_rows
    if num_rows > MOST_ROWS:
        raise InvalidArgument(
            f"{num_paths:,} paths of {len(forecast.series):,} series over {counted(forecast.horizon, 'step')} are "
            f"{num_rows:,} rows: expected at most {MOST_ROWS:,}, which are {MOST_ROWS // forecast.num_rows:,} paths here"
        )


def seed_of(run_id: str) -> int:
    """The seed of a run's paths where none is given: the same on any machine."""
    return _number_of(run_id) % 2**32


def _number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampler:
    """Draws the paths of one forecast."""

    forecaster: Forecaster
    forecast: Forecast
    #: up to the origin, and then with a horizon of periods of which nothing is known
    panel: Panel
    features: FeatureArrays
    #: by the forecast's series, their places in the panel
    places: tuple[int, ...]
    #: what stands in, by the panel's series
    stands_in: Repeated
    #: by the forecast's series, what is left of an error one period later
    persistence: Array
    recipe: Recipe
    seed: int

    def block(self, s: int, block: int) -> Array:
        """The paths `block * BLOCK + 1` and on of the forecast's series s: [BLOCK, H].

        They depend on the seed, the series and the block alone.
        """
        forecast = self.forecast
        rng = np.random.default_rng([self.seed, _number_of(forecast.series[s]), block])
        shape = (BLOCK, forecast.horizon)
        scores, jitter = carried_on(rng.standard_normal(shape), float(self.persistence[s])), rng.random(shape)
        is_fed_back = forecast.method[s] == NETWORK
        paths = self.fed_back(self.places[s], scores) if is_fed_back else self.walked(self.places[s], scores)
        return coupled(
            paths,
            forecast.quantiles[s],
            ties=scores,
            jitter=jitter,
            logarithms=is_fed_back and self.forecaster.scaling.logarithms,
            minimum=self.recipe.publish.minimum,
            maximum=self.recipe.publish.maximum,
        )

    def fed_back(self, s: int, scores: Array) -> Array:
        """Paths [N, H] of the panel's series s, each step drawn from what the network says after those before.

        Args:
            s: which series.
            scores: standard normal values that the steps are drawn with, [N, H].
        """
        origin, length = len(self.panel.grid) - self.forecast.horizon - 1, self.forecaster.needs.context
        start, begins_known = contexts_of(self.panel, Windows(np.array([s]), np.array([origin])), length)
        low, high = self._believable(start[0], begins_known[0])
        context, known, paths = start, begins_known, np.empty_like(scores)  # one window until something is drawn
        for step, drawn in enumerate(scores.T):
            windows = Windows(np.full(len(context), s), np.full(len(context), origin + step))
            read = prepare_inputs_from_contexts(
                self.panel, self.features, windows, (context, known), self.forecaster.scaling
            )
            with np.errstate(over="ignore", invalid="ignore"):
                said = self.forecaster.to_quantiles(self.forecaster.run_network(read.inputs), read)
                next_step = said[:, 0]  # [1, Q], then [N, Q]
                value = at_scores(next_step, drawn, logarithms=self.forecaster.scaling.logarithms)
            paths[:, step] = np.clip(np.where(np.isnan(value), context[:, -1], value), low, high)
            context = _moved_on(context, paths[:, step])
            known = _moved_on(known, np.ones(len(paths), bool))
        return paths

    def walked(self, s: int, scores: Array) -> Array:
        """Paths [N, H] around the baseline of the panel's series s: a random walk, by seasons where it repeats a season.

        Its standard deviation at each step is that of the baseline's intervals.
        """
        lag = _lag(self.stands_in, s, self.recipe)
        variance = np.square(self.stands_in.deviation[s])
        grown = variance - np.concatenate([np.zeros(lag), variance])[: len(variance)]
        paths: Array = scores * np.sqrt(np.maximum(grown, 0.0))
        for step in range(lag, len(variance)):
            paths[:, step] += paths[:, step - lag]
        return paths

    def _believable(self, context: Array, known: npt.NDArray[np.bool_]) -> tuple[float, float]:
        """Where what is fed back stays: within the recipe's bounds, and as near to the context as a published mean."""
        told = context[known]
        span = float(np.ptp(told)) or max(abs(float(told[-1])), 1.0)
        low, high = float(told[-1]) - BELIEVABLE * span, float(told[-1]) + BELIEVABLE * span
        if self.forecaster.scaling.logarithms:
            low = float(told.min()) / BELIEVABLE
        minimum, maximum = self.recipe.publish.minimum, self.recipe.publish.maximum
        low = low if minimum is None else max(low, minimum)
        return low, max(low, high if maximum is None else min(high, maximum))


def sampler_of(forecaster: Forecaster, panel: Panel, forecast: Forecast, recipe: Recipe, seed: int) -> Sampler:
    """What draws the paths of a forecast.

    After the origin covariates that are known ahead are read as far as they are known; those, and the ones that are known
    up to the origin alone, then stay as they were last.

    Args:
        forecaster: that made it.
        panel: that it was made from.
        forecast: as it was published.
        recipe: whose bounds hold.
        seed: of the random numbers.
    """
    prolonged = _prolonged(panel, forecast.periods)
    features, place = forecaster.features.of(prolonged), {name: s for s, name in enumerate(panel.series)}
    places, stands_in = [place[name] for name in forecast.series], repeated(panel, forecast.horizon, recipe.season)
    origin, count, left = len(panel.grid) - 1, recipe.scale_window, np.zeros(len(places))
    is_fed_back = np.array([method == NETWORK for method in forecast.method], bool)
    ours, others = ([places[n] for n in np.flatnonzero(chosen)] for chosen in (is_fed_back, ~is_fed_back))
    left[is_fed_back] = persistence(past_scores(forecaster, prolonged, features, origin, ours, count))
    lags = [_lag(stands_in, s, recipe) for s in others]
    left[~is_fed_back] = persistence(past_differences(panel, origin, others, lags, count))
    return Sampler(
        forecaster=forecaster,
        forecast=forecast,
        panel=prolonged,
        features=features,
        places=tuple(places),
        stands_in=stands_in,
        persistence=left,
        recipe=recipe,
        seed=seed,
    )


def draw(sampler: Sampler, first: int, last: int) -> Iterator[Array]:
    """The paths numbered `first` to `last` of each of the forecast's series in turn, some at a time: [n, H] each."""
    blocks = range((first - 1) // BLOCK, (last - 1) // BLOCK + 1)
    wanted = product(range(len(sampler.forecast.series)), blocks)

    def cut(place: tuple[int, int]) -> Array:
        before = place[1] * BLOCK
        return sampler.block(*place)[max(first - 1 - before, 0) : last - before]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        while some := list(islice(wanted, _UNDER_WAY)):
            yield from threads.map(cut, some)


def carried_on(scores: Array, left: float) -> Array:
    """Independent standard normal scores [N, H] made to depend on those of the step before: a stationary AR(1)."""
    carried = scores.copy()
    for step in range(1, scores.shape[1]):
        carried[:, step] = left * carried[:, step - 1] + np.sqrt(1 - left**2) * scores[:, step]
    return carried


def coupled(
    paths: Array,
    quantiles: Array,
    *,
    ties: Array,
    jitter: Array,
    logarithms: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Array:
    """A stratified sample of each step's distribution in the order of the paths' ranks: [N, H].

    Args:
        paths: whose ranks are taken, [N, H].
        quantiles: of each step's distribution, [H, Q].
        ties: decide the ranks of paths that are equal, [N, H].
        jitter: where in its share of 1 / N each value lies, from 0 up to 1, [N, H].
        logarithms: whether distributions are told between and beyond the quantiles on logarithms.
        minimum: no value is below.
        maximum: no value is above.
    """
    order = np.lexsort((ties, paths), axis=0)
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(len(paths))[:, None], axis=0)
    level = np.maximum((rank + jitter) / len(paths), np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):
        values = at_scores(quantiles, ndtri(level), logarithms=logarithms)
    return np.clip(values, -_LARGEST if minimum is None else minimum, _LARGEST if maximum is None else maximum)


def _lag(stands_in: Repeated, s: int, recipe: Recipe) -> int:
    """How far back the values are that a baseline repeats."""
    return recipe.season if stands_in.method[s] == "seasonal-naive" else 1


def _moved_on(windows: npt.NDArray[Any], newest: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Windows [N, L], or one for all, without their first period and with a newest one [N]."""
    kept = np.broadcast_to(windows[:, 1:], (len(newest), windows.shape[1] - 1))
    return np.concatenate([kept, newest[:, None]], axis=1)


def _prolonged(panel: Panel, periods: npt.NDArray[np.datetime64]) -> Panel:
    """The panel with further periods at the end of each series, in which nothing is known."""
    count, ends = len(periods), panel.offsets[1:]
    ends_ahead = ends + panel.ahead * np.arange(1, len(ends) + 1)

    def with_gaps(values: Array, at: npt.NDArray[np.int64]) -> Array:
        return np.insert(values, np.repeat(at, count), np.nan)

    return replace(
        panel,
        grid=np.append(panel.grid, periods),
        offsets=panel.offsets + count * np.arange(len(panel.offsets)),
        values=with_gaps(panel.values, ends),
        past={name: with_gaps(told, ends) for name, told in panel.past.items()},
        future={name: with_gaps(told, ends_ahead) for name, told in panel.future.items()},
    )
