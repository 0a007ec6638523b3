"""How a network's intervals are calibrated by its test part, and where the baseline's are better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.metrics import METRICS, EvaluationSet
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.calibration import Calibration, Outcomes, blend_distances, conformity_ratios, fit_calibration
from pipeline.forecasting.series_scale import volatility_groups
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS, MEDIAN
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: by so much better, intervals with the baseline's width are published: of a group of series, or of a single one
_GAIN_OF_GROUP, _GAIN_OF_SERIES = 0.1, 0.4
#: shares of the baseline's width in the network's intervals that are compared
_BASELINE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: the share that nothing speaks against; that of pretrained networks, whose intervals hold what they promise
_USUAL_SHARE, _USUAL_SHARE_OF_PRETRAINED = 0.5, 0.25
#: horizons of a test part, over all series, at which half of what it says of pretrained networks counts: series of one
#: panel share their shocks
_HALF_TRUSTED = 100
#: a single series is judged by so many horizons of its own
_ORIGINS_OF_SERIES = 3


def calibrate_intervals(
    panel: Panel, windows: Windows, observed: Array, quantiles: Array, *, season: int, is_pretrained: bool = False
) -> Calibration | None:
    """Calibrate a network's quantiles on its test part, by groups of similar volatility; None where nothing is observed.

    What is calibrated are distances between the network's and seasonal naive's. The share of the latter lies half of the
    way from the usual one to the one that is best on the test part, which is little evidence for the outermost quantiles.
    A pretrained network's intervals come from thousands of series: those of a small panel change them only a little.

    Args:
        panel: of the windows, with the test part.
        windows: N windows of it.
        observed: [N, H], NaN where nothing is observed.
        quantiles: of the network, [N, H, Q].
        season: periods in a season.
        is_pretrained: whether all members of the network began with weights that ship with the package.
    """
    if not len(windows):
        return None
    groups = volatility_groups(panel, forecast_naive(panel, 1, season).scale, season)
    outcomes = _TestedIntervals(
        windows=windows,
        quantiles=quantiles,
        observed=observed,
        naive=NaiveIntervals.of(panel, windows, observed.shape[1], season),
        names=panel.series,
        groups=groups,
        may_narrow=is_pretrained,
    )
    usual, trust = (_USUAL_SHARE_OF_PRETRAINED, outcomes.trust) if is_pretrained else (_USUAL_SHARE, 1.0)
    calibration = outcomes.fit(round(usual + trust * (outcomes.best_share(usual) - usual) / 2, 3))
    if calibration is None:
        return None
    if trust < 1:
        calibration = calibration.shrink(trust)
    if trust < 0.5:
        return calibration
    compared, tested = outcomes.compare(calibration)
    few = _ORIGINS_OF_SERIES * observed.shape[1]
    series = np.array([panel.series[s] for s in tested.series.tolist()])
    return replace(
        calibration,
        baseline_widths=compared.worse(groups[tested.series], least_gain=_GAIN_OF_GROUP),
        baseline_widths_of_series=compared.worse(series, least_gain=_GAIN_OF_SERIES, least_outcomes=few),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TestedIntervals:
    """A network's quantiles of N windows of the test part, beside the baseline's and what was observed."""

    windows: Windows
    quantiles: Array  # [N, H, Q]
    observed: Array  # [N, H]
    naive: NaiveIntervals
    #: of all series of the panel
    names: Sequence[str]
    groups: Indices  # [S]
    #: see `fit_holdout_calibration`
    may_narrow: bool = False

    def fit(self, share: float) -> Calibration | None:
        """The calibration of distances of which the baseline's have a share; None where nothing is observed."""
        blended = blend_distances(self.quantiles, self.naive.quantiles, share)
        calibration = fit_holdout_calibration(
            self.windows, blended, self.observed, names=self.names, groups=self.groups, may_narrow=self.may_narrow
        )
        return calibration and replace(calibration, baseline_share=share)

    def compare(self, calibration: Calibration) -> tuple[IntervalComparison, Windows]:
        """The calibrated intervals of origins one horizon apart beside the baseline's, and their windows."""
        is_disjoint = (self.windows.end - self.windows.end.min()) % self.observed.shape[1] == 0
        tested, naive = self.windows.take(is_disjoint), self.naive.take(is_disjoint)
        names = [self.names[s] for s in tested.series.tolist()]
        quantiles = calibration.apply(self.quantiles[is_disjoint], names, self.groups[tested.series], naive.quantiles)
        return compare_intervals(self.observed[is_disjoint], quantiles, naive), tested

    @property
    def trust(self) -> float:
        """How far the test part counts beside what is known of a network before it: from 0 to 1.

        However many series there are, they share the shocks of a stretch: one horizon is half of the evidence at most.
        """
        is_observed, horizon = np.isfinite(self.observed), self.observed.shape[1]
        ends = self.windows.end[is_observed.any(axis=1)]
        num_stretches = 1 + (ends.max() - ends.min()) // horizon if len(ends) else 0
        num_horizons = is_observed.sum() / horizon**2
        return float(num_horizons / (num_horizons + _HALF_TRUSTED) * num_stretches / (num_stretches + 1))

    def best_share(self, usual: float) -> float:
        """The share with the least loss; the usual one where nothing can be measured."""
        losses = {share: self._loss(share) for share in _BASELINE_SHARES}
        finite = [share for share, loss in losses.items() if np.isfinite(loss)]
        return min(finite, key=losses.__getitem__, default=usual)

    def _loss(self, share: float) -> float:
        """Loss of the intervals with a share of the baseline, relative to the baseline's own; NaN without outcomes."""
        calibration = self.fit(share)
        return self.compare(calibration)[0].loss if calibration else np.nan


def fit_holdout_calibration(
    windows: Windows,
    quantiles: Array,
    observed: Array,
    *,
    names: Sequence[str] = (),
    groups: Indices | None = None,
    may_narrow: bool = False,
) -> Calibration | None:
    """The calibration of a network's quantiles by its test part; None where nothing is observed.

    It only widens: the origins of one test part share their periods, and one lucky stretch is no reason for narrow
    intervals. Published forecasts may narrow them later.

    Args:
        windows: N windows of the test part.
        quantiles: [N, H, Q].
        observed: [N, H], NaN where nothing is observed.
        names: of all series, to tell those of the windows apart.
        groups: volatility groups of all series, [S]; None: all series share the factors of the panel.
        may_narrow: narrow intervals as well, where the network was not fitted on these series alone.
    """
    horizon = observed.shape[1]
    of_outcome = np.repeat(windows.series, horizon)
    outcomes = Outcomes(
        origin=np.repeat(windows.end, horizon),
        step=np.tile(np.arange(1, horizon + 1), len(observed)),
        ratio=conformity_ratios(observed.ravel(), quantiles.reshape(-1, quantiles.shape[2])),
        series=None if groups is None else np.array(names, object)[of_outcome],
        group=None if groups is None else groups[of_outcome],
    )
    calibration = fit_calibration(outcomes, horizon=horizon)
    return calibration if calibration is None or may_narrow else calibration.only_widening()


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalComparison:
    """N forecasts with the network's intervals, with seasonal naive's, and with the network's median between the latter's widths."""

    network: EvaluationSet
    baseline: EvaluationSet
    combined: EvaluationSet

    @property
    def loss(self) -> float:
        """Mean of MSIS and scaled quantile loss of the network's intervals, each relative to seasonal naive's."""
        msis, loss = (
            [float(METRICS[name].over(data)) for data in (self.network, self.baseline)] for name in ("msis_95", "sql")
        )
        return (msis[0] / msis[1] + loss[0] / loss[1]) / 2 if msis[1] > 0 and loss[1] > 0 else np.nan

    def worse(self, labels: npt.NDArray[Any], *, least_gain: float, least_outcomes: int = 1) -> dict[Any, str]:
        """By label whose intervals are better with the baseline's width, the figures.

        Where they gain at least so much in the mean of MSIS and scaled quantile loss; or anything, where the network's are
        worse than the baseline's own by one of the two.

        Args:
            labels: of the forecasts, [N].
            least_gain: as a share.
            least_outcomes: with fewer, a label's intervals stay: the better ones by chance are no better ahead.
        """
        reasons = {}
        for label in np.unique(labels).tolist():
            rows = labels == label
            if np.isfinite(self.network.observed[rows]).sum() < least_outcomes:
                continue
            msis, loss = (
                np.array([metric.over(data.take(rows)) for data in (self.network, self.baseline, self.combined)])
                for metric in (METRICS["msis_95"], METRICS["sql"])
            )
            with np.errstate(divide="ignore", invalid="ignore"):
                gain = 1 - (msis[2] / msis[0] + loss[2] / loss[0]) / 2
            if gain > (0 if msis[0] > msis[1] or loss[0] > loss[1] else least_gain):
                reasons[label] = f"MSIS {msis[2]:.3g} instead of {msis[0]:.3g} in the backtest"
        return reasons


@dataclass(frozen=True, kw_only=True, slots=True)
class NaiveIntervals:
    """Seasonal naive's forecasts from the end of each of N windows."""

    mean: Array  # [N, H]
    quantiles: Array  # [N, H, Q]
    scale: Array  # [N, 1], the seasonal difference before

    @classmethod
    def of(cls, panel: Panel, windows: Windows, horizon: int, season: int) -> NaiveIntervals:
        """Forecast from the end of each window of a panel."""
        mean = np.full((len(windows), horizon), np.nan)
        quantiles = np.full((len(windows), horizon, len(LEVELS)), np.nan)
        scale = np.full((len(windows), 1), np.nan)
        chosen, index = np.unique(windows.series, return_inverse=True)
        panel = panel.take(chosen)
        for end in np.unique(windows.end).tolist():
            history, rows = panel.until(end), np.flatnonzero(windows.end == end)
            forecast = forecast_naive(history, horizon, season)
            row_of = {name: s for s, name in enumerate(history.series)}
            found = [row_of[panel.series[s]] for s in index[rows].tolist()]
            mean[rows], quantiles[rows] = forecast.mean[found], forecast.quantiles[found]
            scale[rows, 0] = forecast.scale[found]
        return cls(mean=mean, quantiles=quantiles, scale=scale)

    def take(self, rows: npt.NDArray[np.bool_]) -> NaiveIntervals:
        """Select windows by a mask [N]."""
        return NaiveIntervals(mean=self.mean[rows], quantiles=self.quantiles[rows], scale=self.scale[rows])


def compare_intervals(observed: Array, quantiles: Array, naive: NaiveIntervals) -> IntervalComparison:
    """Compare a network's intervals with seasonal naive's.

    Args:
        observed: [N, H], NaN where nothing is observed.
        quantiles: of the network, calibrated, [N, H, Q].
        naive: of the same windows.
    """
    combined = quantiles[:, :, MEDIAN, None] + naive.quantiles - naive.mean[:, :, None]

    def evaluation_set(quantiles: Array) -> EvaluationSet:
        median = quantiles[:, :, MEDIAN]
        return EvaluationSet(
            observed=observed, mean=median, quantiles=quantiles, scale=naive.scale, root_scale=naive.scale
        )

    return IntervalComparison(
        network=evaluation_set(quantiles),
        baseline=evaluation_set(naive.quantiles),
        combined=evaluation_set(combined),
    )
