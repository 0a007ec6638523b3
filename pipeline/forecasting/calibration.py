"""Conformal calibration of a network's intervals by the outcomes of earlier forecasts.

The conformity score of an outcome is its distance from the median divided by the forecast distance of a quantile: 1 is
on the quantile, less is inside. The conformal quantile of these scores is the factor by which the distance had to be
multiplied for as many outcomes to fall inside as the level promises.

From the literature:

- split conformal prediction: Lei et al. (2018), JASA 113, 1094-1111;
- each quantile by itself: conformalized quantile regression, Romano, Patterson and Candès (2019), NeurIPS, here
  relative to the width as in its section 6;
- a sliding window and fixed weights against change: Barber, Candès, Ramdas and Tibshirani (2023), Annals of Statistics
  51, 816-845. Gibbs and Candès (2021), NeurIPS, move the level instead.

Our own rules, for panels with few outcomes:

- *pooling*: a step with too few outcomes takes those of neighbouring steps;
- *weights*: an outcome of step h weighs 1/h, because forecasts from h origins in a row share its error, and the series
  of one origin weigh as much as `_MAX_SERIES_PER_ORIGIN` at most;
- *shrinkage*: with little evidence a factor lies between the prior's and the outcomes', see `_shrink`. Widening needs
  weight. Narrowing needs independent outcomes too, because it does harm where it is wrong;
- *rank*: the finite-sample rank counts outcomes as independent as they are, see `_conformal_factors`;
- *series*: the factors are fitted for the whole panel and then, shrunk towards it, for each group of series with similar
  volatility. A series with outcomes of its own multiplies its group's factors by how its errors differ from the group's
  beyond chance. Misfits count for themselves only: `pipeline.forecasting.series_scale`. A new series may be one: its
  factors count them as the largest ones that are none;
- *baseline*: what is multiplied is not the network's distance alone, but a geometric mean of it and the baseline's. One
  test part says little about outer quantiles, and a network that was fitted on few values is too sure of them.

After a change of variance the coverage is right again when the window has passed it: `WINDOW` + H periods later.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.forecasting.series_scale import SeriesErrors, measure_series
from pipeline.timeseries.forecast import LEVELS, LOWER_80, MEDIAN, UPPER_80

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

#: newest origins of each step that count; more are steadier, fewer adapt faster
WINDOW = 50
#: evidence at which the prior no longer counts: an outermost level of 0.025 is a rank among 39 outcomes or more
FULL_WEIGHT = 40
#: the series of one origin count for at most this many, because their errors are correlated
_MAX_SERIES_PER_ORIGIN = 10
#: a longer horizon is fitted at this many steps, closer together where they are near, and interpolated between them
_MAX_FITTED_STEPS = 24
#: the levels whose distance from the median is multiplied
OUTER = [q for q in range(len(LEVELS)) if q != MEDIAN]
#: no distance is multiplied by more than this, nor by less than its inverse
LARGEST_FACTOR = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Factors by which the distance of each quantile from the median is multiplied.

    Raises:
        ValueError: a factor is not a positive number, or the median's is not 1.
    """

    #: of series without a group of their own
    factors: Array  # [H, Q]
    #: outcomes that they are fitted on
    num_outcomes: int = 0
    #: factors [H, Q] by volatility group, of series without outcomes of their own
    groups: Mapping[int, Array] = field(default_factory=dict)
    #: factors [H, Q] by volatility group, of a series that differs from the group by nothing but chance
    typical: Mapping[int, Array] = field(default_factory=dict)
    #: by name of a series with outcomes of its own, what multiplies the factors of a typical one
    series: Mapping[str, float] = field(default_factory=dict)
    #: by volatility group whose intervals get the baseline's width, the reason
    baseline_widths: Mapping[int, str] = field(default_factory=dict)
    #: the same by name of a series
    baseline_widths_of_series: Mapping[str, str] = field(default_factory=dict)
    #: share of the baseline's distances in what is multiplied: 0 leaves the network's, 1 takes the baseline's
    baseline_share: float = 0.0

    def __post_init__(self) -> None:
        if self.factors.ndim != 2 or self.factors.shape[1] != len(LEVELS):
            raise ValueError(f"factors are by step and level, [H, {len(LEVELS)}], not {list(self.factors.shape)}")
        for factors in (self.factors, *self.groups.values(), *self.typical.values()):
            if not (np.isfinite(factors).all() and (factors > 0).all() and (factors[:, MEDIAN] == 1).all()):
                raise ValueError("a factor is a positive number, and the median's is 1")

    def factors_of(self, names: Sequence[str], groups: Rows) -> Array:
        """The factors of S series: [S, H, Q].

        Args:
            names: of the series.
            groups: their volatility groups, [S].
        """
        return self.scaled_factors(np.array([self.series.get(name, 0.0) for name in names]), groups)

    def scaled_factors(self, multiplier: Array, groups: Rows) -> Array:
        """The factors of S series with these multipliers [S], 0 for one without outcomes, and groups [S]: [S, H, Q]."""
        tables = [self.factors, *self.groups.values(), *self.typical.values()]
        in_group = {group: n for n, group in enumerate(self.groups, start=1)}
        typical = {group: n for n, group in enumerate(self.typical, start=1 + len(self.groups))}
        number = [
            (typical if has_own else in_group).get(group, 0)
            for has_own, group in zip((multiplier > 0).tolist(), groups.tolist(), strict=True)
        ]
        factors: Array = np.stack(tables)[number]
        factors[:, :, OUTER] *= np.where(multiplier > 0, multiplier, 1.0)[:, None, None]
        return np.clip(factors, 1 / LARGEST_FACTOR, LARGEST_FACTOR)

    def apply(
        self,
        quantiles: Array,
        names: Sequence[str] = (),
        groups: Rows | None = None,
        of_baseline: Array | None = None,
    ) -> Array:
        """Calibrate quantiles [S, H, Q]: ascending in Q where the raw ones are, the median unchanged.

        A quantile whose factor is 1 keeps every bit, unless one nearer to the median has moved past it.

        Args:
            quantiles: of S series, as the network gives them.
            names: of the series.
            groups: their volatility groups, [S]; None: all have the factors of the panel.
            of_baseline: the baseline's quantiles, [S, H, Q], whose distances have the `baseline_share`.

        Raises:
            ValueError: the baseline has a share, and its quantiles are not given.
        """
        if self.baseline_share:
            if of_baseline is None:
                raise ValueError("this calibration blends with the baseline's quantiles: expected of_baseline")
            quantiles = blend_distances(quantiles, of_baseline, self.baseline_share)
        factors = self.factors if groups is None else self.factors_of(names, groups)
        median = quantiles[:, :, MEDIAN, None]
        with np.errstate(over="ignore", invalid="ignore"):
            moved = median + factors * (quantiles - median)
        calibrated = np.where((factors != 1) & np.isfinite(moved), moved, quantiles)
        for q in range(MEDIAN + 1, len(LEVELS)):  # from the median outwards: none crosses the one before
            above, below = calibrated[:, :, q], calibrated[:, :, -1 - q]
            nearer_above, nearer_below = calibrated[:, :, q - 1], calibrated[:, :, -q]
            calibrated[:, :, q] = np.where(above < nearer_above, nearer_above, above)
            calibrated[:, :, -1 - q] = np.where(below > nearer_below, nearer_below, below)
        return calibrated

    def only_widening(self) -> Calibration:
        """The same without a factor below 1."""
        groups, typical = (
            {group: np.maximum(factors, 1.0) for group, factors in tables.items()}
            for tables in (self.groups, self.typical)
        )
        smallest = min((float(factors[:, OUTER].min()) for factors in typical.values()), default=1.0)
        series = {name: max(multiplier, 1 / smallest) for name, multiplier in self.series.items()}
        return replace(self, factors=np.maximum(self.factors, 1.0), groups=groups, typical=typical, series=series)

    def shrink(self, trust: float) -> Calibration:
        """The same with all factors moved towards 1: at a trust of 0 they are 1, at a trust of 1 they stay."""
        groups, typical = (
            {group: np.round(factors**trust, 4) for group, factors in tables.items()}
            for tables in (self.groups, self.typical)
        )
        series = {name: round(multiplier**trust, 3) for name, multiplier in self.series.items()}
        factors = np.round(self.factors**trust, 4)
        return replace(self, factors=factors, groups=groups, typical=typical, series=series)

    def without_series(self) -> Calibration:
        """The same without the multipliers of single series."""
        return replace(self, series={})

    def as_dict(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {
            "factors": self.factors.tolist(),
            "num_outcomes": self.num_outcomes,
            "groups": {str(group): factors.tolist() for group, factors in self.groups.items()},
            "typical": {str(group): factors.tolist() for group, factors in self.typical.items()},
            "series": dict(self.series),
            "baseline_widths": {str(group): reason for group, reason in self.baseline_widths.items()},
            "baseline_widths_of_series": dict(self.baseline_widths_of_series),
            "baseline_share": self.baseline_share,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Calibration:
        """The calibration whose `as_dict` gave these fields; earlier releases had neither groups nor series."""
        return cls(
            factors=np.array(fields["factors"], np.float64),
            num_outcomes=int(fields["num_outcomes"]),
            groups=_tables_from_dict(fields.get("groups", {})),
            typical=_tables_from_dict(fields.get("typical", {})),
            series={name: float(multiplier) for name, multiplier in fields.get("series", {}).items()},
            baseline_widths={int(group): str(reason) for group, reason in fields.get("baseline_widths", {}).items()},
            baseline_widths_of_series=dict(fields.get("baseline_widths_of_series", {})),
            baseline_share=float(fields.get("baseline_share", 0.0)),
        )

    def as_text(self) -> str:
        """JSON from which `from_text` reads exactly the same calibration."""
        return json.dumps(self.as_dict())

    @classmethod
    def from_text(cls, text: str) -> Calibration:
        """The calibration whose `as_text` gave this text."""
        return cls.from_dict(json.loads(text))


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcomes:
    """Outcomes of n published steps, each of one series from one origin."""

    origin: npt.NDArray[Any]  # [n], values that sort by time
    step: npt.NDArray[np.int64]  # [n], from 1
    ratio: Array  # [n, Q], from `conformity_ratios`
    #: names; None: series are not distinguished
    series: npt.NDArray[Any] | None = None  # [n]
    #: volatility groups of the series
    group: Rows | None = None  # [n]

    def __len__(self) -> int:
        return len(self.step)

    def take(self, rows: Rows) -> Outcomes:
        """Select rows."""
        return Outcomes(
            origin=self.origin[rows],
            step=self.step[rows],
            ratio=self.ratio[rows],
            series=None if self.series is None else self.series[rows],
            group=None if self.group is None else self.group[rows],
        )

    @property
    def sizes(self) -> Array:
        """Magnitude of each error in units of the 80 % interval's side where it lies: [n]; NaN where that has no width."""
        return np.fmax(self.ratio[:, LOWER_80], self.ratio[:, UPPER_80])

    def num_independent(self, max_series: float = np.inf) -> float:
        """Effective sample size: origins times series, of which at most `max_series` count.

        Several steps of one series from one origin count once, because their errors are strongly correlated.
        """
        origins, origin_index = np.unique(self.origin, return_inverse=True)
        num_origin_steps = len(np.unique(origin_index * (1 + self.step.max()) + self.step))
        series_per_origin = len(self) / num_origin_steps
        return len(origins) * min(series_per_origin, max_series)


def _tables_from_dict(tables: Mapping[str, Any]) -> dict[int, Array]:
    return {int(group): np.array(table, np.float64) for group, table in tables.items()}


def blend_distances(quantiles: Array, of_baseline: Array, share: float) -> Array:
    """Quantiles whose distances from the median are between a network's and a baseline's: the median is unchanged.

    Each distance is the weighted geometric mean of both. Where the baseline's is 0 the network's stays.

    Args:
        quantiles: of the network, [S, H, Q].
        of_baseline: around any median, [S, H, Q].
        share: of the baseline, from 0 to 1.
    """
    if share == 0:
        return quantiles
    median = quantiles[:, :, MEDIAN, None]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        own = np.abs(quantiles - median)
        baseline = np.abs(of_baseline - of_baseline[:, :, MEDIAN, None])
        blended = np.exp((1 - share) * np.log(own) + share * np.log(baseline))
        moved = median + np.sign(quantiles - median) * blended
    is_usable = (baseline > 0) & np.isfinite(moved)
    return np.where(is_usable, moved, quantiles)


def conformity_ratios(observed: Array, quantiles: Array, factors: Array | float = 1.0) -> Array:
    """Distance of observed values from the median, divided by the uncalibrated distance of each quantile: [n, Q].

    The uncalibrated distance is the published one divided by the factors. A quantile that was clipped to the recipe's
    bounds is taken as it was published: whether the value was inside is right all the same.

    Args:
        observed: [n].
        quantiles: as they were published, [n, Q].
        factors: that they were published with, [n, Q].

    Returns:
        [n, Q]; NaN for the median, where a quantile equals the median, and where nothing is observed.
    """
    median = quantiles[:, MEDIAN, None]
    distance = quantiles - median
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio: Array = np.where(distance != 0, factors * ((observed[:, None] - median) / distance), np.nan)
    return ratio


def fit_calibration(outcomes: Outcomes, *, horizon: int, prior: Calibration | None = None) -> Calibration | None:
    """The factors with which the newest outcomes would have fallen inside as often as the levels promise.

    The module's docstring states the rules.

    Args:
        outcomes: of any origins and series.
        horizon: H.
        prior: the factors without outcomes; None: factors of 1.

    Returns:
        the calibration to publish with; the prior where nothing is observed yet.
    """
    outcomes = _newest(outcomes)
    if len(outcomes) == 0:
        return prior
    prior = prior or Calibration(factors=np.ones((horizon, len(LEVELS))))
    if outcomes.series is None or outcomes.group is None:
        factors = _fit_factors(outcomes, prior.factors)
        return replace(prior, factors=np.round(factors, 4), num_outcomes=len(outcomes))
    names, index = np.unique(outcomes.series, return_inverse=True)
    fit = _PanelFit(outcomes, index, [str(name) for name in names], prior)
    factors = fit.fit_panel()
    groups, typical, series = fit.fit_groups(factors)
    return replace(
        prior,
        factors=np.round(factors, 4),
        num_outcomes=len(outcomes),
        groups={group: np.round(table, 4) for group, table in groups.items()},
        typical={group: np.round(table, 4) for group, table in typical.items()},
        series={name: round(multiplier, 3) for name, multiplier in series.items()},
    )


@dataclass(frozen=True, slots=True)
class _PanelFit:
    """Fits factors for a panel, its groups and its series."""

    outcomes: Outcomes
    index: Rows  # [n], of the series of each outcome among the names
    names: list[str]
    prior: Calibration

    def fit_panel(self) -> Array:
        """Factors [H, Q] of the series that are no misfits in the panel."""
        rows = np.arange(len(self.outcomes))
        is_misfit = self._measure(rows).are_misfits()
        return _fit_factors(self.outcomes.take(rows[~is_misfit[self.index]]), self.prior.factors)

    def fit_groups(self, panel: Array) -> tuple[dict[int, Array], dict[int, Array], dict[str, float]]:
        """Factors [H, Q] of each group and of its typical series, shrunk towards the panel's; multipliers of series."""
        assert self.outcomes.group is not None
        groups, typical = (self._move(tables, panel) for tables in (self.prior.groups, self.prior.typical))
        series = dict(self.prior.series)
        for group in np.unique(self.outcomes.group).tolist():
            rows = np.flatnonzero(self.outcomes.group == group)
            errors = self._measure(rows)
            multiplier = errors.multipliers(self._multipliers_before(), FULL_WEIGHT)
            alike = rows[~errors.are_misfits()[self.index[rows]]]
            before = groups.get(group, panel)
            groups[group] = _fit_factors(self._divide_by(errors.excess()).take(rows), before)
            typical[group] = _fit_factors(self._divide_by(multiplier).take(alike), typical.get(group, before))
            series.update({self.names[s]: float(multiplier[s]) for s in np.unique(self.index[rows]).tolist()})
        return groups, typical, series

    def _divide_by(self, size: Array) -> Outcomes:
        """The outcomes with errors divided by the size of their series [S]."""
        return replace(self.outcomes, ratio=self.outcomes.ratio / size[self.index][:, None])

    def _move(self, tables: Mapping[int, Array], panel: Array) -> dict[int, Array]:
        """Earlier factors of groups, moved as far as the panel's have."""
        moved = panel / self.prior.factors
        return {group: np.clip(table * moved, 1 / LARGEST_FACTOR, LARGEST_FACTOR) for group, table in tables.items()}

    def _multipliers_before(self) -> Array:
        return np.array([self.prior.series.get(name, 1.0) for name in self.names])

    def _measure(self, rows: Rows) -> SeriesErrors:
        """The errors of the series in some rows; NaN for the others."""
        _, origin = np.unique(self.outcomes.origin, return_inverse=True)
        size = np.full(len(self.outcomes), np.nan)
        size[rows] = self.outcomes.sizes[rows]
        return measure_series(self.index, origin, size, 1 / self.outcomes.step)


def _fit_factors(outcomes: Outcomes, prior: Array) -> Array:
    """Factors [H, Q] from outcomes of all series together, and the factors without them."""
    horizon = len(prior)
    factors = prior.copy()
    rows_of_step = [np.flatnonzero(outcomes.step == step) for step in range(1, horizon + 1)]
    weight = _weights(outcomes, rows_of_step)
    weight_of_step = np.array([weight[rows].sum() for rows in rows_of_step])
    fitted_steps = _steps_to_fit(horizon)
    for h in fitted_steps:
        pooled = _pool_steps(weight_of_step, h)
        rows = np.concatenate(rows_of_step[pooled])
        if len(rows):
            sample = outcomes.take(rows)
            estimate = _conformal_factors(sample, weight[rows], prior[h])
            independent = sample.num_independent(_MAX_SERIES_PER_ORIGIN)
            factors[h] = _shrink(prior[h], estimate, weight_of_step[pooled].sum(), independent)
    for q in range(len(LEVELS)):
        factors[:, q] = np.exp(np.interp(np.arange(horizon), fitted_steps, np.log(factors[fitted_steps, q])))
    factors[:, MEDIAN] = 1.0
    return factors


def _newest(outcomes: Outcomes) -> Outcomes:
    """The outcomes of each step from the last `WINDOW` origins of which it is observed."""
    is_observed = np.isfinite(outcomes.ratio).any(axis=1)
    is_chosen = np.zeros(len(outcomes), bool)
    for step in np.unique(outcomes.step):
        rows = np.flatnonzero((outcomes.step == step) & is_observed)
        newest_origins = np.unique(outcomes.origin[rows])[-WINDOW:]
        is_chosen[rows[np.isin(outcomes.origin[rows], newest_origins)]] = True
    return outcomes.take(np.flatnonzero(is_chosen))


def _steps_to_fit(horizon: int) -> npt.NDArray[np.int64]:
    """The steps that are fitted rather than interpolated, from 0."""
    if horizon <= _MAX_FITTED_STEPS:
        return np.arange(horizon)
    return np.unique(np.round(np.geomspace(1, horizon, _MAX_FITTED_STEPS)).astype(np.int64)) - 1


def _weights(outcomes: Outcomes, rows_of_step: list[Rows]) -> Array:
    """The weight of each outcome [n]: 1/h for step h, and less where an origin has many series."""
    weight = np.zeros(len(outcomes))
    for h, rows in enumerate(rows_of_step, start=1):
        _, origin, num_series = np.unique(outcomes.origin[rows], return_inverse=True, return_counts=True)
        weight[rows] = np.minimum(1, _MAX_SERIES_PER_ORIGIN / num_series)[origin] / h
    return weight


def _pool_steps(weight_of_step: Array, h: int) -> slice:
    """The fewest steps around step h whose weights reach `FULL_WEIGHT` together; all steps if none do."""
    for reach in range(len(weight_of_step)):
        steps = slice(max(0, h - reach), h + reach + 1)
        if weight_of_step[steps].sum() >= FULL_WEIGHT:
            return steps
    return slice(None)


def _shrink(prior: Array, estimate: Array, weight: float, num_independent: float) -> Array:
    """Geometric shrinkage of factors [Q] towards the prior: prior^(1 - t) estimate^t, with trust t = evidence / full weight.

    The evidence to widen an interval is the weight of the outcomes. To narrow one it is their effective sample size
    where that is less: a lucky stretch of one origin is no reason for narrow intervals.
    """
    evidence = np.where(estimate > prior, weight, min(weight, num_independent))
    trust = np.minimum(1.0, evidence / FULL_WEIGHT)
    shrunk: Array = prior ** (1 - trust) * estimate**trust
    return shrunk


def _conformal_factors(outcomes: Outcomes, weight: Array, prior: Array) -> Array:
    """The conformal quantile of the ratios at each level: [Q]; the prior's factor where a level has no ratio.

    With n outcomes the conformal quantile of level p is that of rank p (n + 1), so of share p (n + 1) / n. For n we take
    what is smaller: the sum of 1/h, as in the weights, or the effective sample size. A share above 1 lies beyond the
    outcomes that there are: then the largest ratio may widen the prior's factor, not narrow it.
    """
    factors = prior.copy()
    for q, level in enumerate(LEVELS):
        rows = np.flatnonzero(np.isfinite(outcomes.ratio[:, q]))
        if q == MEDIAN or not len(rows):
            continue
        sample = outcomes.take(rows)
        num_ranked = min(float((1 / sample.step).sum()), sample.num_independent())
        share = max(level, 1 - level) * ((num_ranked + 1) / num_ranked)
        factor = np.clip(
            _weighted_quantile(sample.ratio[:, q], weight[rows], share), 1 / LARGEST_FACTOR, LARGEST_FACTOR
        )
        factors[q] = factor if share <= 1 else max(factor, prior[q])
    return factors


def _weighted_quantile(values: Array, weight: Array, share: float) -> float:
    """The least value with that share of the weight up to it; the largest value where the share is above 1."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weight[order])
    rank = int(np.searchsorted(cumulative, share * cumulative[-1] * (1 - 1e-12)))
    return float(values[order[min(rank, len(values) - 1)]])
