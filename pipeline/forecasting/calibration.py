"""Intervals that hold: each quantile's distance from the median, corrected by what became of earlier forecasts.

Where the observed value fell is told in units of the distance that was forecast: 1 is on the quantile, less is
inside. The conformal quantile of these ratios is the factor by which the distance had to be multiplied for as many
values to fall inside as the level promises (split conformal prediction: Lei et al. 2018, JASA 113, 1094-1111; for
quantiles, each side by itself: Romano, Patterson & Candès 2019, NeurIPS, CQR, here relative to the width as in its
section 6). It is fitted anew at each origin on the last `WINDOW` outcomes of each step, a sliding window as a defence
against change (Barber, Candès, Ramdas & Tibshirani 2023, Annals of Statistics 51, 816-845, of which come the fixed
weights, too; Gibbs & Candès 2021, NeurIPS, move the level instead). After a change of variance the coverage is back
when the window has forgotten what was before: `WINDOW` + H periods later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

#: newest outcomes of each step and series that are looked at; more are steadier, fewer forget faster
WINDOW = 50
#: weight of outcomes that is enough: 39 are needed for an outermost level of 0.025 to be a rank among them
ENOUGH = 40
#: the series of one origin count for so many at the most, for what happens to one of them happens to others
_MOST_AN_ORIGIN = 10
#: of a longer horizon so many steps are fitted, closer together where they are near, and the others lie between them
_MOST_STEPS = 24
#: no distance is changed by more than this factor, nor by less than its inverse
LARGEST = 10.0
_MEDIAN = len(LEVELS) // 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What the distance of each quantile from the median is multiplied by.

    Raises:
        ValueError: a factor is not a positive number, or the median's is not 1.
    """

    factors: Array  # [H, Q]
    #: outcomes that it is fitted on
    num_outcomes: int = 0

    def __post_init__(self) -> None:
        if self.factors.ndim != 2 or self.factors.shape[1] != len(LEVELS):
            raise ValueError(f"factors are by step and level, [H, {len(LEVELS)}], not {list(self.factors.shape)}")
        if not (np.isfinite(self.factors).all() and (self.factors > 0).all() and (self.factors[:, _MEDIAN] == 1).all()):
            raise ValueError("a factor is a positive number, and the median's is 1")

    def apply(self, quantiles: Array) -> Array:
        """Calibrated quantiles [S, H, Q], ascending in Q where the raw ones do; the median stays.

        A quantile whose factor is 1 stays to the last bit unless one nearer to the median has moved past it.
        """
        middle = quantiles[:, :, _MEDIAN, None]
        with np.errstate(over="ignore", invalid="ignore"):
            moved = middle + self.factors * (quantiles - middle)
        calibrated = np.where((self.factors != 1) & np.isfinite(moved), moved, quantiles)
        for q in range(_MEDIAN + 1, len(LEVELS)):
            above, below = calibrated[:, :, q], calibrated[:, :, -1 - q]
            nearer, further = calibrated[:, :, q - 1], calibrated[:, :, -q]
            calibrated[:, :, q] = np.where(above < nearer, nearer, above)
            calibrated[:, :, -1 - q] = np.where(below > further, further, below)
        return calibrated

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {"factors": self.factors.tolist(), "num_outcomes": self.num_outcomes}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Calibration:
        """What `as_dict` gave."""
        return cls(factors=np.array(told["factors"], np.float64), num_outcomes=int(told["num_outcomes"]))

    def as_text(self) -> str:
        """JSON from which exactly the same calibration is read."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_text(cls, text: str) -> Calibration:
        """What `as_text` gave."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """What became of forecasts: one row for each observed step of a series."""

    origin: npt.NDArray[Any]  # [n], in an order that is that of time
    step: npt.NDArray[np.int64]  # [n], from 1
    ratio: Array  # [n, Q], as `conformity` gives

    def __len__(self) -> int:
        return len(self.step)

    def take(self, rows: npt.NDArray[np.intp]) -> Outcomes:
        """Some of them."""
        return Outcomes(origin=self.origin[rows], step=self.step[rows], ratio=self.ratio[rows])

    def most_independent(self, most_an_origin: float = np.inf) -> float:
        """Number of series times number of origins: what one origin says of a series at several steps is much the same."""
        origins, which = np.unique(self.origin, return_inverse=True)
        of_a_step = len(self) / len(np.unique(which * (1 + self.step.max()) + self.step))
        return len(origins) * min(of_a_step, most_an_origin)


def conformity(observed: Array, quantiles: Array, factors: Array | float = 1.0) -> Array:
    """Where observed values fell, in units of the raw distance of each quantile from the median.

    Of quantiles that are published with factors, the raw ones had their distance divided by these. One that was
    bounded counts as if it were raw: whether the value was inside of it is told all the same.

    Args:
        observed: [n].
        quantiles: [n, Q].
        factors: what they were published with, [n, Q].

    Returns:
        [n, Q]; NaN for the median, where a quantile is the median, and where nothing is observed.
    """
    middle = quantiles[:, _MEDIAN, None]
    distance = quantiles - middle
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio: Array = np.where(distance != 0, factors * ((observed[:, None] - middle) / distance), np.nan)
    return ratio


def fit_calibration(outcomes: Outcomes, *, horizon: int, prior: Calibration | None = None) -> Calibration | None:
    """The factors that would have made the newest outcomes fall inside as often as the levels promise.

    Steps with too few outcomes take those of their neighbours, too; an outcome of step h weighs 1/h, as forecasts
    from h origins in a row share its error. Where all steps together do not weigh enough, the factors lie
    between those of the prior and what the outcomes say, by their weight; to narrow an interval, so many have to
    be of different origins or series, too.

    Args:
        outcomes: of any origins and series.
        horizon: H.
        prior: what is believed without outcomes; none: factors of 1.

    Returns:
        what to publish with; the prior where nothing was observed yet.
    """
    outcomes = _newest(outcomes)
    if len(outcomes) == 0:
        return prior
    of_step = [np.flatnonzero(outcomes.step == step) for step in range(1, horizon + 1)]
    weight = _weights(outcomes, of_step)
    by_step = np.array([weight[rows].sum() for rows in of_step])
    believed = np.ones((horizon, len(LEVELS))) if prior is None else prior.factors
    factors, fitted = believed.copy(), _fitted(horizon)
    for h in fitted:
        steps = _neighbours(by_step, h)
        rows = np.concatenate(of_step[steps])
        if len(rows):
            chosen = outcomes.take(rows)
            told = _factors(chosen, weight[rows], believed[h])
            enough = by_step[steps].sum(), chosen.most_independent(_MOST_AN_ORIGIN)
            trust = np.minimum(1.0, np.where(told > believed[h], enough[0], min(enough)) / ENOUGH)
            factors[h] = believed[h] ** (1 - trust) * told**trust
    for q in range(len(LEVELS)):
        factors[:, q] = np.exp(np.interp(np.arange(horizon), fitted, np.log(factors[fitted, q])))
    factors[:, _MEDIAN] = 1.0
    return Calibration(factors=np.round(factors, 4), num_outcomes=len(outcomes))


def _newest(outcomes: Outcomes) -> Outcomes:
    """Of each step those from the last origins of which it is observed."""
    observed = np.isfinite(outcomes.ratio).any(axis=1)
    chosen = np.zeros(len(outcomes), bool)
    for step in np.unique(outcomes.step):
        rows = np.flatnonzero((outcomes.step == step) & observed)
        chosen[rows[np.isin(outcomes.origin[rows], np.unique(outcomes.origin[rows])[-WINDOW:])]] = True
    return outcomes.take(np.flatnonzero(chosen))


def _fitted(horizon: int) -> npt.NDArray[np.int64]:
    """Which of the steps are fitted, from 0."""
    if horizon <= _MOST_STEPS:
        return np.arange(horizon)
    return np.unique(np.round(np.geomspace(1, horizon, _MOST_STEPS)).astype(np.int64)) - 1


def _weights(outcomes: Outcomes, of_step: list[npt.NDArray[np.intp]]) -> Array:
    weight = np.zeros(len(outcomes))
    for n, rows in enumerate(of_step):
        _, which, count = np.unique(outcomes.origin[rows], return_inverse=True, return_counts=True)
        weight[rows] = np.minimum(1, _MOST_AN_ORIGIN / count)[which] / (n + 1)
    return weight


def _neighbours(by_step: Array, h: int) -> slice:
    """The steps around one that weigh enough together, or all of them."""
    for reach in range(len(by_step)):
        steps = slice(max(0, h - reach), h + reach + 1)
        if by_step[steps].sum() >= ENOUGH:
            return steps
    return slice(None)


def _factors(outcomes: Outcomes, weight: Array, believed: Array) -> Array:
    """Of each level the conformal quantile of the ratios: [Q]; what is believed where there is none.

    Where the level's rank is beyond the outcomes there are, they may widen what is believed, not narrow it.
    """
    factors = believed.copy()
    for q, level in enumerate(LEVELS):
        known = np.flatnonzero(np.isfinite(outcomes.ratio[:, q]))
        if q == _MEDIAN or not len(known):
            continue
        chosen, share = outcomes.take(known), max(level, 1 - level)
        count = min(float((1 / chosen.step).sum()), chosen.most_independent())
        share *= (count + 1) / count
        found = np.clip(_quantile(chosen.ratio[:, q], weight[known], share), 1 / LARGEST, LARGEST)
        factors[q] = found if share <= 1 else max(found, believed[q])
    return factors


def _quantile(ratio: Array, weight: Array, share: float) -> float:
    """The least ratio with that share of the weight up to it; the largest where there is none."""
    order = np.argsort(ratio, kind="stable")
    reached = np.cumsum(weight[order])
    at = int(np.searchsorted(reached, share * reached[-1] * (1 - 1e-12)))
    return float(ratio[order[min(at, len(ratio) - 1)]])
