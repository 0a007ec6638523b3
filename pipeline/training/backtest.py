"""Backtest a fit plan on the test part: fit it on the history before, and forecast from every origin of the test part."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation.holdout import HoldoutBacktest, seasonal_scales
from pipeline.evaluation.interval_calibration import calibrate_intervals
from pipeline.forecasting.baselines import forecast_baseline
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.preprocessing.windows import Positions, Windows, find_windows_ending, read_contexts, read_targets
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.forecast_ensemble import ForecastEnsemble
from pipeline.training.progress import OnEpoch

if TYPE_CHECKING:
    from pipeline.training.ensemble import FitPlan

Array = npt.NDArray[np.float64]

#: with more windows than these, only origins one horizon apart are tested
MOST_TESTED = 200_000
#: windows that are read and forecast at a time
_WINDOWS_PER_BATCH = 20_000
#: about so many steps of the test part calibrate the quantiles: of every series, or of some
_MOST_CALIBRATED = 100_000


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
    return None if ensemble is None else forecast_test_part(panel, fitting_part, plan.recipe, ensemble)


def forecast_test_part(
    panel: Panel, fitting_part: Panel, recipe: Recipe, ensemble: ForecastEnsemble
) -> HoldoutBacktest | None:
    """Forecast from every origin of the test part of a panel by an ensemble that was fitted on what is before it.

    None where no series has a window to forecast from.
    """
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
        chosen = windows.series % every == 0
        calibration = calibrate_intervals(
            panel,
            windows.take(chosen),
            observed[chosen],
            outputs[chosen],
            season=recipe.season,
            is_pretrained=ensemble.is_pretrained,
        )
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
    panel: Panel, features: FeatureArrays, windows: Windows, ensemble: ForecastEnsemble
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


def _mase_scales_by_series(panel: Panel, fitting_part: Panel, season: int) -> Array:
    """Scale of each series of the panel [S], from the fitting part; NaN of a series that starts later."""
    scales = dict(zip(fitting_part.series, seasonal_scales(fitting_part, season), strict=True))
    return np.array([scales.get(name, np.nan) for name in panel.series])
