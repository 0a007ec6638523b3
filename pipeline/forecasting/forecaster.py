"""A fitted network with its scaling, covariates and intervals: predict, save, load.

A model is one directory with one hash. The network is ONNX: numbers and a fixed set of operators, no code. ONNX
Runtime computes the forecasts, without TensorFlow.

| file | content |
|---|---|
| network.onnx | the network: context [N, L, F] and known covariates to quantiles [N, H, Q], or to one number a step [N, H, 1] |
| weights.npz | the same weights, for fine-tuning |
| forecaster.json | scaling, covariates, interval widths, calibration, requirements, cutoff, recipe, library versions |
| golden.npz | one batch of inputs with the outputs that Keras gave at training |
| manifest.json | the sha256 of each file; its own sha256 is the model's hash |
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelRefused
from pipeline.forecasting.calibration import Calibration
from pipeline.preprocessing.covariates import FeatureArrays, Features, build_window_inputs, features_from_dict
from pipeline.preprocessing.scaling import Scaling, scaling_from_dict
from pipeline.preprocessing.windows import ContextRequirements, Positions, Windows, have_enough_context, read_contexts
from pipeline.text import counted
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: largest difference allowed between the outputs of ONNX Runtime here and of Keras at training
GOLDEN_TOLERANCE = 1e-5
#: windows that one thread reads and forecasts at a time
WINDOWS_PER_BATCH = 1024
#: the file whose hash is the model's hash
MANIFEST = "manifest.json"
#: the other files of a model directory
MODEL_FILES = ("forecaster.json", "golden.npz", "network.onnx", "weights.npz")


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalWidths:
    """Symmetric intervals from past errors: quantile q of step h is `by_step[h] * at_level[q]` window scales from the mean."""

    by_step: Array  # [H], typical size of the error of each step
    at_level: Array  # [Q], signed multiple of that size

    def quantiles_around(self, mean: Array, scale: Array) -> Array:
        """Quantiles [N, H, Q] around means [N, H] of windows whose scales are [N, 1]."""
        return mean[:, :, None] + (scale * self.by_step)[:, :, None] * self.at_level


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInputs:
    """What a network reads of the n usable ones among N windows, and what converts its outputs to the series' units."""

    is_usable: npt.NDArray[np.bool_]  # [N]; False: a value has no logarithm, where the network reads logarithms
    context: Array  # [n, L], in units of the series, gaps filled
    is_observed: npt.NDArray[np.bool_]  # [n, L], False where the context was filled
    centre: Array  # [n, 1]
    scale: Array  # [n, 1]
    #: by input name, as the network takes them
    inputs: dict[str, Array]


@dataclass(frozen=True, kw_only=True)
class Forecaster:
    """Forecasts the H periods after a context of L periods."""

    network: bytes
    scaling: Scaling
    features: Features
    #: what a window must have to be forecast
    needs: ContextRequirements
    horizon: int
    #: intervals from past errors; None: the network gives quantiles itself
    interval_widths: IntervalWidths | None
    #: the last period that the network was fitted on
    cutoff: np.datetime64
    model_hash: str
    #: of the quantiles, from the backtest; `predict` does not apply it
    calibration: Calibration | None = None

    @property
    def requirement_text(self) -> str:
        """What a series must have to be forecast, in words: the reason published with a fallback."""
        length, num_observed = self.needs.least_length, self.needs.least_known
        values = counted(num_observed, "value")
        number = f"{counted(length, 'period')} with {values}" if length > num_observed else values
        positive = ", all of them positive," if self.scaling.logarithms else ""
        season = f", one of each of the {self.needs.season} periods of a season" if self.needs.season > 1 else ""
        return f"the network needs {number}{positive} in the context{season} and one at the origin"

    @property
    def reads_logarithms(self) -> bool:
        """Whether the network's quantiles are those of logarithms."""
        return self.scaling.logarithms

    def predict(self, panel: Panel) -> tuple[Positions, Array, Array]:
        """Forecast from the panel's origin every series that meets the network's requirements there.

        Returns:
            indices of the forecast series in the panel [N], their means [N, H] and uncalibrated quantiles [N, H, Q].
        """
        windows = self._windows_at_origin(panel)
        features = self.features.transform(panel)
        no_quantiles = np.empty((0, self.horizon, len(LEVELS)))

        def forecast_batch(start: int) -> tuple[Positions, Array]:
            batch = windows.take(slice(start, start + WINDOWS_PER_BATCH))
            inputs = prepare_inputs(panel, features, batch, self.scaling, self.needs.context)
            if not inputs.is_usable.any():
                return batch.series[:0], no_quantiles
            return batch.series[inputs.is_usable], self.to_quantiles(self.run_network(inputs.inputs), inputs)

        _ = self._session  # created once, before the threads share it
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            batches = list(threads.map(forecast_batch, range(0, len(windows), WINDOWS_PER_BATCH)))
        series = np.concatenate([windows.series[:0], *(part for part, _ in batches)])
        quantiles = np.concatenate([no_quantiles, *(part for _, part in batches)])
        return series, quantiles[:, :, len(LEVELS) // 2], quantiles

    def inputs_at_origin(self, panel: Panel) -> ModelInputs:
        """What the network reads at the panel's origin, of every series that meets its requirements there."""
        windows = self._windows_at_origin(panel)
        return prepare_inputs(panel, self.features.transform(panel), windows, self.scaling, self.needs.context)

    def to_quantiles(self, outputs: Array, inputs: ModelInputs) -> Array:
        """Convert the network's outputs [N, H, Q] or [N, H, 1] to quantiles [N, H, Q] in units of the series.

        Args:
            outputs: of the network for `inputs.inputs`, computed by ONNX Runtime, Keras or MLflow.
            inputs: of the same windows.
        """
        values = self.scaling.unscale(outputs, inputs.centre[:, :, None], inputs.scale[:, :, None])
        if self.interval_widths is None:
            return values
        scale = mean_seasonal_change(inputs.context, inputs.is_observed, self.scaling.season)
        return self.interval_widths.quantiles_around(values[:, :, 0], scale)

    def run_network(self, inputs: Mapping[str, Array]) -> Array:
        """The network's outputs [N, H, Q] or [N, H, 1], in scaled units, for inputs by name."""
        single = {name: values.astype(np.float32) for name, values in inputs.items()}
        return np.asarray(self._session.run(None, single)[0], dtype=np.float64)

    def _windows_at_origin(self, panel: Panel) -> Windows:
        windows = Windows(np.arange(len(panel.series)), np.full(len(panel.series), len(panel.grid) - 1))
        return windows.take(have_enough_context(panel, windows, self.needs))

    @cached_property
    def _session(self) -> Any:
        return create_session(self.network)


def create_session(network: bytes) -> Any:
    """Create the session of ONNX Runtime that computes a network; each call of it takes one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # batches run in parallel threads
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def prepare_inputs(
    panel: Panel, features: FeatureArrays, windows: Windows, scaling: Scaling, length: int
) -> ModelInputs:
    """What a network reads of N windows of a panel, each with a context of `length` periods.

    Args:
        panel: with the values of the windows.
        features: covariates of the same panel.
        windows: N positions in it.
        scaling: as it was fitted with the network.
        length: L, periods in a context.
    """
    return prepare_inputs_from_contexts(panel, features, windows, read_contexts(panel, windows, length), scaling)


def prepare_inputs_from_contexts(
    panel: Panel,
    features: FeatureArrays,
    windows: Windows,
    contexts: tuple[Array, npt.NDArray[np.bool_]],
    scaling: Scaling,
) -> ModelInputs:
    """The same for contexts that differ from the panel's values, such as those of a sample path.

    Args:
        panel: whose grid and series the windows refer to.
        features: covariates of the same panel.
        windows: N positions in it.
        contexts: values [N, L] without gaps, and which of them were observed [N, L].
        scaling: as it was fitted with the network.
    """
    context, is_observed = contexts
    is_usable = scaling.are_usable(context)
    windows, context, is_observed = windows.take(is_usable), context[is_usable], is_observed[is_usable]
    centre, scale = scaling.window_parameters(context, is_observed, [panel.series[s] for s in windows.series])
    scaled = scaling.scale(context, centre, scale)
    return ModelInputs(
        is_usable=is_usable,
        context=context,
        is_observed=is_observed,
        centre=centre,
        scale=scale,
        inputs=build_window_inputs(panel, features, windows, scaled, is_observed),
    )


def mean_seasonal_change(context: Array, is_observed: npt.NDArray[np.bool_], season: int) -> Array:
    """Mean absolute seasonal difference of each window [N, L], in units of the series: [N, 1].

    Only pairs of observed values count. A window without a seasonal change takes its period-to-period change; one
    without any change has 1.
    """
    change = np.zeros((len(context), 1))
    for lag in (season, 1):
        if context.shape[1] > lag:
            change = np.where(change > 0, change, _mean_change(context, is_observed, lag))
    return np.where(change > 0, change, 1.0)


def _mean_change(context: Array, is_observed: npt.NDArray[np.bool_], lag: int) -> Array:
    has_both = is_observed[:, lag:] & is_observed[:, :-lag]
    total = np.where(has_both, np.abs(context[:, lag:] - context[:, :-lag]), 0.0).sum(axis=1, keepdims=True)
    mean: Array = total / np.maximum(has_both.sum(axis=1, keepdims=True), 1)
    return mean


def build_manifest(files: Mapping[str, bytes]) -> bytes:
    """The content of manifest.json for the other files of a model directory."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return json.dumps({"format": 1, "files": digests}, indent=1).encode()


def hash_model(files: Mapping[str, bytes]) -> str:
    """The hash of a model directory: the sha256 of its manifest, which holds the hashes of the other files."""
    return hashlib.sha256(files.get(MANIFEST, b"")).hexdigest()


def verify_model_files(files: Mapping[str, bytes], model_hash: str) -> None:
    """Compare every file of a model directory with its recorded hash.

    Raises:
        ModelRefused: a file is missing or was changed.
    """
    if hash_model(files) != model_hash:
        raise ModelRefused(f"model {model_hash[:12]}: its manifest is not the one that was recorded; train again")
    digests = json.loads(files[MANIFEST])["files"]
    if (changed := _first_changed(files, digests)) is not None:
        raise ModelRefused(f"model {model_hash[:12]}: {changed} is missing or was changed; train again")


def _first_changed(files: Mapping[str, bytes], digests: Mapping[str, str]) -> str | None:
    changed = (name for name, digest in digests.items() if hashlib.sha256(files.get(name, b"")).hexdigest() != digest)
    return next(changed, None)


def read_model_fields(files: Mapping[str, bytes], model_hash: str) -> dict[str, Any]:
    """The content of forecaster.json, after all files were compared with their recorded hashes.

    Raises:
        ModelRefused: a file is missing or was changed, or an earlier release wrote the model.
    """
    verify_model_files(files, model_hash)
    fields: dict[str, Any] = json.loads(files["forecaster.json"])
    if "needs" not in fields:
        raise ModelRefused(
            f"model {model_hash[:12]} was made by an earlier release, which wrote other fields; train again"
        )
    return fields


def load_forecaster(files: Mapping[str, bytes], model_hash: str) -> Forecaster:
    """The forecaster of a model directory, whose files are checked before anything of them is used.

    Args:
        files: content by name, the manifest included.
        model_hash: as it was recorded at training.

    Raises:
        ModelRefused: a file is missing or was changed, an earlier release wrote the model, or the network's outputs
            differ from the golden ones.
    """
    fields = read_model_fields(files, model_hash)
    widths, calibration = fields["spread"], fields.get("calibration")
    forecaster = Forecaster(
        network=files["network.onnx"],
        scaling=scaling_from_dict(fields["scaling"]),
        features=features_from_dict(fields["features"]),
        needs=ContextRequirements(**fields["needs"]),
        horizon=int(fields["horizon"]),
        interval_widths=IntervalWidths(**{name: np.array(v) for name, v in widths.items()}) if widths else None,
        cutoff=np.datetime64(fields["cutoff"], "us"),
        model_hash=model_hash,
        calibration=Calibration.from_dict(calibration) if calibration else None,
    )
    _check_golden(forecaster, files["golden.npz"])
    return forecaster


def _check_golden(forecaster: Forecaster, golden: bytes) -> None:
    with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
        inputs = {name: arrays[name] for name in arrays.files if name != "outputs"}
        expected = arrays["outputs"]
    difference = float(np.abs(forecaster.run_network(inputs) - expected).max())
    if not difference <= GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelRefused(
            f"model {forecaster.model_hash[:12]}: the network gives other numbers here than where it was trained "
            f"(difference {difference:.2g}, expected at most {GOLDEN_TOLERANCE:g}); train again"
        )


def save_model_files(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a model directory to a folder, which is created if needed; a model that is there is replaced.

    The manifest is written last: a folder whose writing was interrupted is refused by `read_model_files`.

    Raises:
        ModelRefused: the files are not a whole model; nothing was written.
    """
    _require_whole_model(files, "these files are not a model")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*MODEL_FILES, MANIFEST):
        (folder / name).write_bytes(files[name])


def read_model_files(folder: Path) -> dict[str, bytes]:
    """The files of a model that `save_model_files` wrote, content by name, each compared with the manifest.

    Raises:
        ModelRefused: the folder does not exist or holds no model, or a file of it is missing or was changed.
    """
    problem = f"{folder} holds no usable model"
    if not folder.is_dir():
        raise ModelRefused(f"{problem}: it is not a folder")
    paths = [folder / name for name in (*MODEL_FILES, MANIFEST)]
    files = {path.name: path.read_bytes() for path in paths if path.is_file()}
    _require_whole_model(files, problem)
    return files


def load_saved_forecaster(folder: Path) -> Forecaster:
    """The forecaster that `save_model_files` wrote to a folder.

    Its hash is that of the manifest in the folder. A caller that has recorded the hash elsewhere compares it.

    Raises:
        ModelRefused: as of `read_model_files` and `load_forecaster`.
    """
    files = read_model_files(folder)
    return load_forecaster(files, hash_model(files))


def _require_whole_model(files: Mapping[str, bytes], problem: str) -> None:
    """Refuse files that lack a part of a model, or that are not those of their manifest."""
    if MANIFEST not in files:
        raise ModelRefused(f"{problem}: {MANIFEST} is missing; expected {', '.join((*MODEL_FILES, MANIFEST))}")
    try:
        digests = dict(json.loads(files[MANIFEST])["files"])
    except (ValueError, KeyError, TypeError):
        raise ModelRefused(f"{problem}: {MANIFEST} lists no files; save the model again") from None
    if sorted(digests) != sorted(MODEL_FILES):
        raise ModelRefused(
            f"{problem}: {MANIFEST} lists {', '.join(sorted(digests)) or 'nothing'}; expected {', '.join(MODEL_FILES)}"
        )
    if (changed := _first_changed(files, digests)) is not None:
        raise ModelRefused(f"{problem}: {changed} is missing or was changed; save the model again")
