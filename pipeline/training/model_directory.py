"""Write a fitted ensemble as the files of a model directory, which `forecasting.forecaster` reads."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation.holdout import HoldoutBacktest, fit_interval_widths, fit_series_widths
from pipeline.forecasting.baselines import seasonal_naive
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.forecaster import IntervalWidths, mean_seasonal_change
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.timeseries.panel import Panel
from pipeline.training.ensemble import Ensemble, select_windows
from pipeline.training.export import compute_once, export_archive, export_onnx, predict
from pipeline.training.model_files import ModelContent, build_files, read_golden_inputs

Array = npt.NDArray[np.float64]


def build_model_directory(
    panel: Panel,
    recipe: Recipe,
    ensemble: Ensemble,
    backtest: HoldoutBacktest | None,
    *,
    instead_of: str | None = None,
) -> tuple[dict[str, bytes], bytes]:
    """Build the files of a model directory, and the Keras archive of its network.

    Args:
        panel: that the ensemble was fitted on.
        recipe: of the ensemble.
        ensemble: fitted.
        backtest: its intervals come from this; None: from the errors of the seasonal naive forecast.
        instead_of: why the current model cannot be used, see `ModelContent`.

    Raises:
        ModelRefused: no series ends with a window that the network can read.
    """
    golden = read_golden_inputs(panel, ensemble)
    network, direct = ensemble.build_keras_network(), ensemble.build_onnx_network()
    compute = compute_once if direct else predict  # an export needs the graph that `predict` compiles
    widths, calibration = _find_widths(panel, recipe, ensemble, backtest)
    content = ModelContent(
        recipe=recipe,
        panel=panel,
        ensemble=ensemble,
        network=direct.content if direct else export_onnx(network, golden.inputs),
        weights=[fitted.trunk.get_weights() for fitted in ensemble.fitted],
        golden=golden,
        golden_outputs=compute(network, golden.inputs),  # of Keras, with which each load compares the ONNX network
        widths=widths,
        calibration=calibration,
        epochs=ensemble.epochs,
        shrinkage=ensemble.shrinkage,
        configs=[member.config for member in ensemble.members if member.config],
        instead_of=instead_of,
    )
    return build_files(content), export_archive(network)


def _find_widths(
    panel: Panel, recipe: Recipe, ensemble: Ensemble, backtest: HoldoutBacktest | None
) -> tuple[IntervalWidths | None, Calibration | None]:
    """Widths of a network that gives one number a step, from its errors; and the calibration of its intervals."""
    if recipe.loss == "pinball":
        return None, backtest.calibration if backtest else None
    windows, residuals, scale = _past_errors(panel, recipe, ensemble, backtest)
    widths = fit_interval_widths(residuals, scale, windows)
    return widths, fit_series_widths(windows, residuals, scale, widths, panel.series)


def _past_errors(
    panel: Panel, recipe: Recipe, ensemble: Ensemble, backtest: HoldoutBacktest | None
) -> tuple[Windows, Array, Array]:
    """Windows, residuals [N, H] and scales [N, 1] of the backtest; without a backtest of the seasonal naive forecast."""
    length = ensemble.needs.context
    if backtest is not None:
        windows, residuals = backtest.windows, backtest.residuals()
    else:
        windows = select_windows(panel, ensemble.members[0], recipe)
        context, is_observed = read_contexts(panel, windows, length)
        residuals = read_targets(panel, windows, recipe.horizon) - seasonal_naive(
            np.where(is_observed, context, np.nan), recipe.horizon, recipe.season
        )
    return windows, residuals, mean_seasonal_change(*read_contexts(panel, windows, length), recipe.season)
