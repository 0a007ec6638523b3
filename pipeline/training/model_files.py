"""The files of a model directory that do not need Keras: weights, windows to compare outputs on, and what forecasts are made of."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.forecaster import IntervalWidths, ModelInputs, build_manifest
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.forecast_ensemble import ForecastEnsemble

Array = npt.NDArray[np.float64]

#: windows whose outputs are stored, to be compared before the model is used
_GOLDEN_WINDOWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelContent:
    """What the files of a model directory are made of."""

    recipe: Recipe
    #: that the ensemble was fitted on
    panel: Panel
    ensemble: ForecastEnsemble
    network: bytes
    #: of each member, in the order of `keras.Model.get_weights`
    weights: Sequence[Sequence[npt.NDArray[Any]]]
    golden: ModelInputs
    #: of the golden windows, [n, H, K]
    golden_outputs: Array
    #: None: the network gives quantiles
    widths: IntervalWidths | None
    calibration: Calibration | None
    #: of each member: epochs of a fit from its seed
    epochs: Sequence[int]
    #: factor of the networks' correction of their base, from 0 to 1
    shrinkage: float
    #: of the members of a global network
    configs: Sequence[GlobalLSTMConfig]
    #: why the current model cannot be used. It makes the hash differ from that of a damaged model that was fitted on
    #: the same data
    instead_of: str | None = None


def build_files(content: ModelContent) -> dict[str, bytes]:
    """Build the files of a model directory, by name."""
    inputs = {name: values.astype(np.float32) for name, values in content.golden.inputs.items()}
    files = {
        "network.onnx": content.network,
        "weights.npz": pack_weights(content.weights),
        "forecaster.json": json.dumps(_forecaster_fields(content), indent=1, sort_keys=True).encode(),
        "golden.npz": _to_npz({**inputs, "outputs": content.golden_outputs}),
    }
    return {**files, "manifest.json": build_manifest(files)}


def _forecaster_fields(content: ModelContent) -> dict[str, Any]:
    recipe, ensemble, widths = content.recipe, content.ensemble, content.widths
    return {
        "recipe": recipe.model_dump(mode="json"),
        "training_fingerprint": recipe.training_fingerprint,
        "needs": asdict(ensemble.needs),
        "horizon": recipe.horizon,
        "levels": LEVELS if widths is None else None,
        "cutoff": str(content.panel.origin),
        "scaling": ensemble.scaling.as_dict(),
        "features": ensemble.features.as_dict(),
        "spread": widths and {"by_step": widths.by_step.tolist(), "at_level": widths.at_level.tolist()},
        "epochs": list(content.epochs),
        "trust": content.shrinkage,
        "calibration": content.calibration and content.calibration.as_dict(),
        "members": [asdict(config) for config in content.configs],
        "versions": {name: version(name) for name in ("keras", "numpy", "onnx", "tensorflow", "tf2onnx")},
        "instead_of": content.instead_of,
    }


def read_golden_inputs(panel: Panel, ensemble: ForecastEnsemble) -> ModelInputs:
    """Read the last windows of the longest series, on which each load compares the network's outputs.

    Raises:
        ModelRefused: no series ends with a window that the network can read.
    """
    golden = ensemble.prepare_inputs(panel, _golden_windows(panel))
    if not golden.is_usable.any():
        raise ModelRefused("no series ends with a window that can be read: its values are not above 0")
    return golden


def _golden_windows(panel: Panel) -> Windows:
    longest = np.argsort(-panel.lengths, kind="stable")[:_GOLDEN_WINDOWS]
    back = np.arange(_GOLDEN_WINDOWS // len(longest))
    series, before = (grid.ravel() for grid in np.meshgrid(longest, back, indexing="ij"))
    return Windows(series, np.maximum(panel.last[series] - before, panel.first[series]))


def pack_weights(members: Sequence[Sequence[npt.NDArray[Any]]]) -> bytes:
    """Write the weights of all members as an npz file, named by member and position in `keras.Model.get_weights`."""
    arrays = {
        f"{member}.{position:03d}": weight
        for member, weights in enumerate(members)
        for position, weight in enumerate(weights)
    }
    return _to_npz(arrays)


def unpack_weights(weights: bytes) -> list[list[Array]]:
    """Read what `pack_weights` wrote: one list of weights for each member."""
    members: dict[int, list[Array]] = {}
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            members.setdefault(int(name.split(".")[0]), []).append(arrays[name])
    return [members[member] for member in sorted(members)]


def _to_npz(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Write arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
