"""The expected value of each forecast step: of the published quantiles, or of intermittent demand from its rate.

*From quantiles.* The quantile function is the one of sample paths (`quantile_function`): lines on the scale of normal scores
between the levels, which go on beyond the outer ones. So the tails are normal, or log-normal where the network reads
logarithms, and they are cut at a score of `LARGEST_SCORE`. The expected value is its integral.

*Intermittent demand.* Where most periods are zero, the quantiles are zero too, up to the outermost one, and no integral of
five of them finds the mean. A series is intermittent where its values are not negative and a demand comes every 1.32 periods
or less often (Syntetos, Boylan and Croston 2005, Journal of the Operational Research Society 56). Its expected value is the
mean demand per period over the last `scale_window` periods, newer ones with more weight. Croston's method is biased, this
is not: sums of the forecast match sums of the demand (Teunter and Sani 2009, European Journal of Operational Research 194).
Where demand repeats a season, each place in the season has a rate of its own, shrunk to the common one by how much the places
differ beyond chance (James and Stein 1961).
"""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import scale_window
from pipeline.forecasting.baselines import recent_values
from pipeline.timeseries.forecast import MEDIAN, NORMAL_SCORES
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: mean number of periods from one demand to the next from which on demand is intermittent
INTERMITTENT_INTERVAL = 1.32
#: fewest values from which a series is called intermittent
_FEWEST_VALUES = 6
#: the tails are integrated up to this standard normal score
_LARGEST_SCORE = 4.0
#: nodes of the integral between two levels
_NODES_PER_PIECE = 5
#: periods after which a value counts half, as a share of `scale_window`
_HALF_LIFE = 0.4
#: series whose rates are computed at a time
_SERIES_PER_BATCH = 8_192
#: distributions that are integrated at a time, so that they stay in the processor's cache
_STEPS_PER_BATCH = 4_096


def _integration_nodes() -> tuple[Array, Array]:
    """What gives the quantile function at K nodes from the quantiles [Q, K], and the probability of each node [K].

    Gauss-Legendre nodes on the scale of normal scores, between -4, the three inner levels, and 4.
    """
    ends = np.array([-_LARGEST_SCORE, *NORMAL_SCORES[1:-1], _LARGEST_SCORE])
    unit, unit_weight = np.polynomial.legendre.leggauss(_NODES_PER_PIECE)
    scores = np.concatenate([low + (high - low) * (unit + 1) / 2 for low, high in pairwise(ends)])
    density = np.array([NormalDist().pdf(score) for score in scores])
    weight = density * np.concatenate([(high - low) / 2 * unit_weight for low, high in pairwise(ends)])
    piece = np.repeat(np.arange(len(NORMAL_SCORES) - 1), _NODES_PER_PIECE)
    share = (scores - NORMAL_SCORES[piece]) / (NORMAL_SCORES[piece + 1] - NORMAL_SCORES[piece])
    interpolation = np.zeros((len(NORMAL_SCORES), len(scores)))
    interpolation[piece, np.arange(len(scores))] = 1 - share
    interpolation[piece + 1, np.arange(len(scores))] += share
    return interpolation, weight / weight.sum()


_INTERPOLATION, _WEIGHT = _integration_nodes()
#: weight of the distance of each quantile from the median in the expected value; symmetric
_LINEAR_WEIGHT = (_INTERPOLATION @ _WEIGHT + (_INTERPOLATION @ _WEIGHT)[::-1]) / 2


def expected_values(quantiles: Array, *, logarithms: bool = False) -> Array:
    """Expected values [...] of distributions with these quantiles [..., Q]; a symmetric one's is its median.

    Args:
        quantiles: by level, ascending.
        logarithms: the logarithms are interpolated where all quantiles are above 0.
    """
    median = quantiles[..., MEDIAN]
    mean = np.array(median + _symmetric_sum(quantiles - median[..., None]))
    if not logarithms:
        return mean
    is_positive = quantiles[..., 0] > 0
    mean[is_positive] = _integrate_logarithms(quantiles[is_positive])
    return mean


def _integrate_logarithms(quantiles: Array) -> Array:
    """Expected values [N] of distributions whose quantiles [N, Q] are above 0, their logarithms interpolated."""
    mean = quantiles[:, MEDIAN].copy()
    for start in range(0, len(mean), _STEPS_PER_BATCH):
        batch = slice(start, start + _STEPS_PER_BATCH)
        distance = np.log(quantiles[batch] / mean[batch, None])
        with np.errstate(over="ignore"):
            mean[batch] *= 1 + np.expm1(distance @ _INTERPOLATION) @ _WEIGHT
    return mean


def _symmetric_sum(distance: Array) -> Array:
    """The weighted sum of distances [..., Q], exactly 0 where the two sides are equal."""
    total = np.zeros(distance.shape[:-1])
    for q in range(MEDIAN):
        total += _LINEAR_WEIGHT[q] * (distance[..., q] + distance[..., -1 - q])
    return total


def expected_demand(panel: Panel, horizon: int, season: int) -> tuple[npt.NDArray[np.bool_], Array]:
    """Which series have intermittent demand [S], and the expected demand of each step from the panel's origin [S, H].

    Rates of series that are not intermittent are computed too, but are of no use.
    """
    parts = [
        _demand_of(recent_values(panel, series, scale_window(season)), horizon, season)
        for series in np.array_split(np.arange(len(panel.series)), 1 + len(panel.series) // _SERIES_PER_BATCH)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _demand_of(recent: Array, horizon: int, season: int) -> tuple[npt.NDArray[np.bool_], Array]:
    """The same of the last values [N, W] of some series, NaN where there is none."""
    is_observed = ~np.isnan(recent)
    values = np.where(is_observed, recent, 0.0)
    num_observed, num_demands = is_observed.sum(axis=1), (values > 0).sum(axis=1)
    is_intermittent = (
        (values >= 0).all(axis=1)
        & (num_observed >= _FEWEST_VALUES)
        & (num_demands > 0)
        & (num_observed >= INTERMITTENT_INTERVAL * num_demands)
    )
    age = np.arange(recent.shape[1])[::-1]
    weight = is_observed * 0.5 ** (age / (_HALF_LIFE * recent.shape[1]))
    rate = _weighted_mean(values, weight)  # [N]
    demand = np.repeat(rate[:, None], horizon, axis=1)
    if season > 1:
        place = (np.arange(horizon)) % season
        demand = rate[:, None] + _seasonal_deviation(values, weight, rate, season)[:, place]
    return is_intermittent, np.maximum(demand, 0.0)


def _weighted_mean(values: Array, weight: Array, axis: int = 1) -> Array:
    total = weight.sum(axis=axis)
    return np.asarray((values * weight).sum(axis=axis) / np.where(total > 0, total, 1.0))


def _seasonal_deviation(values: Array, weight: Array, rate: Array, season: int) -> Array:
    """How far the rate of each place in the season [N, m] lies from the common one, shrunk by its significance.

    With a variance between the places of F times what chance gives, 1 - 2 / F of it is kept: nothing in the usual case of
    demand without a season. Place 0 follows the origin.
    """
    num_seasons = values.shape[1] // season
    of_season = (len(values), num_seasons, season)
    values, weight = (part[:, -num_seasons * season :].reshape(of_season) for part in (values, weight))
    num_observed = (weight > 0).sum(axis=1)  # [N, m]
    by_place = _weighted_mean(values, weight)
    deviation = np.where(num_observed > 0, by_place - rate[:, None], 0.0)
    within = np.where(weight > 0, np.square(values - by_place[:, None]), 0.0).sum(axis=(1, 2))
    degrees = np.maximum((weight > 0).sum(axis=(1, 2)) - (num_observed > 0).sum(axis=1), 1)
    chance = within / degrees  # variance of one value around its place
    between = (num_observed * np.square(deviation)).sum(axis=1) / max(season - 1, 1)
    kept = 1 - np.minimum(1.0, 2 * chance / np.where(between > 0, between, 1.0))
    kept = np.where((num_observed >= 2).all(axis=1) & (between > 0), kept, 0.0)
    return np.asarray(kept[:, None] * deviation)
