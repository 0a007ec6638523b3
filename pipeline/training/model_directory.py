"""Write a fitted ensemble as the files of a model directory, which `forecasting.forecaster` reads."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation.holdout import HoldoutBacktest, fit_interval_widths, fit_series_widths
from pipeline.forecasting.baselines import seasonal_naive
from pipeline.forecasting.forecaster import build_manifest, mean_seasonal_change
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.ensemble import Ensemble, select_windows
from pipeline.training.export import compute_once, export_archive, export_onnx, pack_weights, predict, to_npz

Array = npt.NDArray[np.float64]

#: windows whose outputs are stored, to be compared before the model is used
_GOLDEN_WINDOWS = 16


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
        instead_of: why the current model cannot be used. It makes the hash differ from that of a damaged model that
            was fitted on the same data.

    Raises:
        ModelRefused: no series ends with a window that the network can read.
    """
    golden = ensemble.prepare_inputs(panel, _golden_windows(panel))
    if not golden.is_usable.any():
        raise ModelRefused("no series ends with a window that can be read: its values are not above 0")
    network, direct = ensemble.build_keras_network(), ensemble.build_onnx_network()
    compute = compute_once if direct else predict  # an export needs the graph that `predict` compiles
    outputs = compute(network, golden.inputs)  # of Keras, with which each load compares the ONNX network
    fields = {**_forecaster_fields(panel, recipe, ensemble, backtest), "instead_of": instead_of}
    inputs = {name: values.astype(np.float32) for name, values in golden.inputs.items()}
    files = {
        "network.onnx": direct.content if direct else export_onnx(network, golden.inputs),
        "weights.npz": pack_weights([fitted.trunk for fitted in ensemble.fitted]),
        "forecaster.json": json.dumps(fields, indent=1, sort_keys=True).encode(),
        "golden.npz": to_npz({**inputs, "outputs": outputs}),
    }
    return {**files, "manifest.json": build_manifest(files)}, export_archive(network)


def _forecaster_fields(
    panel: Panel, recipe: Recipe, ensemble: Ensemble, backtest: HoldoutBacktest | None
) -> dict[str, Any]:
    """The content of forecaster.json, except for `instead_of`."""
    calibration = backtest.calibration if backtest else None
    widths = None
    if recipe.loss != "pinball":
        windows, residuals, scale = _past_errors(panel, recipe, ensemble, backtest)
        widths = fit_interval_widths(residuals, scale, windows)
        calibration = fit_series_widths(windows, residuals, scale, widths, panel.series)
    return {
        "recipe": recipe.model_dump(mode="json"),
        "training_fingerprint": recipe.training_fingerprint,
        "needs": asdict(ensemble.needs),
        "horizon": recipe.horizon,
        "levels": LEVELS if widths is None else None,
        "cutoff": str(panel.origin),
        "scaling": ensemble.scaling.as_dict(),
        "features": ensemble.features.as_dict(),
        "spread": widths and {"by_step": widths.by_step.tolist(), "at_level": widths.at_level.tolist()},
        "epochs": list(ensemble.epochs),
        "trust": ensemble.shrinkage,
        "calibration": calibration and calibration.as_dict(),
        "members": [asdict(member.config) for member in ensemble.members if member.config],
        "versions": {name: version(name) for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx")},
    }


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


def _golden_windows(panel: Panel) -> Windows:
    """The last windows of the longest series."""
    longest = np.argsort(-panel.lengths, kind="stable")[:_GOLDEN_WINDOWS]
    back = np.arange(_GOLDEN_WINDOWS // len(longest))
    series, before = (grid.ravel() for grid in np.meshgrid(longest, back, indexing="ij"))
    return Windows(series, np.maximum(panel.last[series] - before, panel.first[series]))
