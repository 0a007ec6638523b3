"""Backtest a fit plan on the test part: fit it on the history before, and forecast from every origin of the test part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation.holdout import (
    HoldoutBacktest,
    IntervalComparison,
    NaiveIntervals,
    compare_intervals,
    fit_holdout_calibration,
    seasonal_scales,
)
from pipeline.forecasting.baselines import forecast_baseline, forecast_naive
from pipeline.forecasting.calibration import Calibration, blend_distances
from pipeline.forecasting.series_scale import volatility_groups
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.preprocessing.windows import Positions, Windows, find_windows_ending, read_contexts, read_targets
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.ensemble import Ensemble, FitPlan
from pipeline.training.progress import OnEpoch

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: with more windows than these, only origins one horizon apart are tested
MOST_TESTED = 200_000
#: windows that are read and forecast at a time
_WINDOWS_PER_BATCH = 20_000
#: about so many steps of the test part calibrate the quantiles: of every series, or of some
_MOST_CALIBRATED = 100_000
#: by so much better, intervals with the baseline's width are published: of a group of series, or of a single one
_GAIN_OF_GROUP, _GAIN_OF_SERIES = 0.1, 0.4
#: shares of the baseline's width in the network's intervals that are compared, and the one that nothing speaks against
_BASELINE_SHARES, _USUAL_SHARE = (0.0, 0.25, 0.5, 0.75, 1.0), 0.5
#: a single series is judged by so many horizons of its own
_ORIGINS_OF_SERIES = 3


def last_fitted_position(panel: Panel, recipe: Recipe) -> int:
    """Position in the grid of the last period before the test part; negative where the test part is the whole panel."""
    return len(panel.grid) - 1 - recipe.test_periods


def backtest_plan(panel: Panel, plan: FitPlan, cutoff: int, on_epoch: OnEpoch | None) -> HoldoutBacktest | None:
    """Fit a plan on the panel up to `cutoff` and forecast the periods after it.

    Args:
        panel: with the test part.
        plan: what to fit.
        cutoff: position in the grid of the last period to fit on.
        on_epoch: called after each epoch.

    Returns:
        None where nothing is left to fit on, or to test.
    """
    if cutoff < 0 or not (fitting_part := panel.until(cutoff)).series:
        return None
    ensemble = plan.fit(fitting_part, on_epoch)
    return None if ensemble is None else _forecast_test_part(panel, fitting_part, plan.recipe, ensemble)


def _forecast_test_part(
    panel: Panel, fitting_part: Panel, recipe: Recipe, ensemble: Ensemble
) -> HoldoutBacktest | None:
    candidates = find_windows_ending(panel, _origins(panel, fitting_part, recipe.horizon), needs=ensemble.needs)
    features = ensemble.features.transform_as_live(panel, carry_forward=recipe.covariates.carries_forward)
    windows, outputs = _forecast_windows(panel, features, candidates, ensemble)
    if len(windows) == 0:
        return None
    observed = read_targets(panel, windows, recipe.horizon)
    own = outputs[:, :, outputs.shape[2] // 2]
    context, is_known = read_contexts(panel, windows, recipe.scale_window)  # as for published baselines
    context = np.where(is_known, context, np.nan)
    is_published = _are_steps_published(panel, recipe)[windows.series]  # [N, H]
    stand_in = forecast_baseline("seasonal-naive", context, horizon=recipe.horizon, season=recipe.season)
    has_quantiles = outputs.shape[2] == len(LEVELS)
    calibration = None
    if recipe.loss == "pinball":
        every = 1 + len(candidates) * recipe.horizon // _MOST_CALIBRATED
        calibration = _calibrate(panel, recipe.season, windows, outputs, observed, every=every)
    return HoldoutBacktest(
        windows=windows,
        context=context,
        observed=observed,
        forecast=np.where(is_published, own, stand_in),
        own_forecast=own,
        quantiles=outputs if has_quantiles else None,
        mase_scale=_mase_scales_by_series(panel, fitting_part, recipe.season)[windows.series][:, None],
        season=recipe.season,
        calibration=calibration,
    )


def _are_steps_published(panel: Panel, recipe: Recipe) -> npt.NDArray[np.bool_]:
    """Which steps of each series the network would make live, with covariates known ahead as they are now: [S, H]."""
    missing = None if recipe.covariates.carries_forward else find_missing_covariates(panel, recipe)
    if missing is None:
        return np.ones((len(panel.series), recipe.horizon), bool)
    return np.arange(recipe.horizon) < missing.num_known_steps[:, None]


def _origins(panel: Panel, fitting_part: Panel, horizon: int) -> Positions:
    """Positions of the test part's origins, from the end of the fitting part up to the last but one period."""
    origins = np.arange(len(fitting_part.grid) - 1, len(panel.grid) - 1)
    return origins[::horizon] if len(origins) * len(panel.series) > MOST_TESTED else origins


def _forecast_windows(
    panel: Panel, features: FeatureArrays, windows: Windows, ensemble: Ensemble
) -> tuple[Windows, Array]:
    """The usable windows [N], and their forecasts in units of the series: [N, H, K]."""
    network = ensemble.build_network()
    is_usable, outputs = [np.empty(0, bool)], []
    for start in range(0, len(windows), _WINDOWS_PER_BATCH):
        batch = windows.take(slice(start, start + _WINDOWS_PER_BATCH))
        inputs = ensemble.prepare_inputs(panel, batch, features)
        is_usable.append(inputs.is_usable)
        if inputs.is_usable.any():
            outputs.append(ensemble.quantiles(network, inputs))
    usable = windows.take(np.concatenate(is_usable))
    return usable, np.concatenate(outputs) if outputs else np.empty((0, 0, 0))


def _calibrate(
    panel: Panel, season: int, windows: Windows, quantiles: Array, observed: Array, *, every: int
) -> Calibration | None:
    """Calibrate quantiles [N, H, Q] on the windows of every so many-th series, by groups of similar volatility.

    What is calibrated are distances between the network's and the baseline's. Their share is half of the way from the
    middle to the one that is best on the test part, which is little evidence for the outermost quantiles.
    """
    is_chosen = windows.series % every == 0
    windows, quantiles, observed = windows.take(is_chosen), quantiles[is_chosen], observed[is_chosen]
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
    )
    best = min(_BASELINE_SHARES, key=outcomes.loss)
    share = (best + _USUAL_SHARE) / 2
    calibration = outcomes.fit(share)
    if calibration is None:
        return None
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

    def fit(self, share: float) -> Calibration | None:
        """The calibration of distances of which the baseline's have a share; None where nothing is observed."""
        blended = blend_distances(self.quantiles, self.naive.quantiles, share)
        calibration = fit_holdout_calibration(
            self.windows, blended, self.observed, names=self.names, groups=self.groups
        )
        return calibration and replace(calibration, baseline_share=share)

    def compare(self, calibration: Calibration) -> tuple[IntervalComparison, Windows]:
        """The calibrated intervals of origins one horizon apart beside the baseline's, and their windows."""
        is_disjoint = (self.windows.end - self.windows.end.min()) % self.observed.shape[1] == 0
        tested, naive = self.windows.take(is_disjoint), self.naive.take(is_disjoint)
        names = [self.names[s] for s in tested.series.tolist()]
        quantiles = calibration.apply(self.quantiles[is_disjoint], names, self.groups[tested.series], naive.quantiles)
        return compare_intervals(self.observed[is_disjoint], quantiles, naive), tested

    def loss(self, share: float) -> float:
        """Loss of the intervals with a share of the baseline, relative to the baseline's own."""
        calibration = self.fit(share)
        loss = self.compare(calibration)[0].loss if calibration else np.nan
        return loss if np.isfinite(loss) else abs(share - _USUAL_SHARE)


def _mase_scales_by_series(panel: Panel, fitting_part: Panel, season: int) -> Array:
    """Scale of each series of the panel [S], from the fitting part; NaN of a series that starts later."""
    scales = dict(zip(fitting_part.series, seasonal_scales(fitting_part, season), strict=True))
    return np.array([scales.get(name, np.nan) for name in panel.series])
