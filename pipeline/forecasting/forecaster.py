"""A forecaster: a fitted network with its scaling, its features and its spread; saved, loaded and used whole.

A model is one directory with one hash. The network is ONNX: numbers and a fixed set of operators, no
code; forecasts are computed by ONNX Runtime, without TensorFlow.

| file | what |
|---|---|
| network.onnx | the network, context [N, L, F] and what is known ahead to quantiles [N, H, Q] or one number a step, [N, H, 1] |
| weights.npz | the same numbers, for fine-tuning |
| forecaster.json | scaling, features, spread, calibration, what it needs of a window, cutoff, the recipe, library versions |
| golden.npz | one batch of inputs with the outputs that Keras gave |
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
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelRefused
from pipeline.forecasting.calibration import Calibration
from pipeline.preprocessing.covariates import FeatureArrays, Features, features_from_dict, inputs_of
from pipeline.preprocessing.scaling import Scaling, scaling_from_dict
from pipeline.preprocessing.windows import ContextRequirements, Positions, Windows, contexts_of, has_enough
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: largest difference allowed between ONNX Runtime here and Keras at training
GOLDEN_TOLERANCE = 1e-5
#: windows that are read at once, in each thread
MOST_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class IntervalWidths:
    """Width of the intervals: quantile q of step h lies `by_step[h] * at_level[q]` window scales from the mean."""

    by_step: Array  # [H]
    at_level: Array  # [Q]

    def around(self, mean: Array, scale: Array) -> Array:
        """Quantiles [N, H, Q] around mean [N, H] of windows with scale [N, 1]."""
        return mean[:, :, None] + (scale * self.by_step)[:, :, None] * self.at_level


@dataclass(frozen=True, kw_only=True)
class Forecaster:
    """Predicts the H periods after a context of L."""

    network: bytes
    scaling: Scaling
    features: Features
    needs: ContextRequirements
    horizon: int
    #: intervals from past errors; none: the network gives quantiles
    spread: IntervalWidths | None
    cutoff: np.datetime64
    model_hash: str
    #: of the quantiles, from the backtest; `predict` gives them raw
    calibration: Calibration | None = None

    @property
    def lacks(self) -> str:
        """What a series lacks that this one does not forecast."""
        length, known = self.needs.least_length, self.needs.least_known
        number = f"{length} periods with {known} values" if length > known else f"{known} values"
        positive = ", all of them positive," if self.scaling.logarithms else ""
        return f"the network needs {number}{positive} in the context and one at the origin"

    def predict(self, panel: Panel) -> tuple[Positions, Array, Array]:
        """Forecast from the panel's origin every series that has there what the network needs.

        Returns:
            which series [N], their means [N, H] and their quantiles [N, H, Q].
        """
        windows = Windows(np.arange(len(panel.series)), np.full(len(panel.series), len(panel.grid) - 1))
        windows = windows.take(has_enough(panel, windows, self.needs))
        features, none = self.features.of(panel), np.empty((0, self.horizon, len(LEVELS)))

        def forecast(first: int) -> tuple[Positions, Array]:
            chosen = windows.take(slice(first, first + MOST_AT_ONCE))
            read = read_windows(panel, features, chosen, self.scaling, self.needs.context)
            return chosen.series[read.usable], self.quantiles(
                self.outputs(read.inputs), read
            ) if read.usable.any() else none

        _ = self._session
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            parts = list(threads.map(forecast, range(0, len(windows), MOST_AT_ONCE)))
        quantiles = np.concatenate([none, *(made for _, made in parts)])
        return (
            np.concatenate([windows.series[:0], *(series for series, _ in parts)]),
            quantiles[:, :, len(LEVELS) // 2],
            quantiles,
        )

    def read(self, panel: Panel) -> ModelInputs:
        """What the network reads at the panel's origin, of every series that has there what it needs."""
        windows = Windows(np.arange(len(panel.series)), np.full(len(panel.series), len(panel.grid) - 1))
        windows = windows.take(has_enough(panel, windows, self.needs))
        return read_windows(panel, self.features.of(panel), windows, self.scaling, self.needs.context)

    def quantiles(self, outputs: Array, read: ModelInputs) -> Array:
        """What the network's numbers mean, [N, H, Q] or [N, H, 1]: quantiles [N, H, Q] in units of the series.

        Whoever computed the outputs from `read.inputs`: ONNX Runtime here, Keras or MLflow elsewhere.
        """
        values = self.scaling.values(outputs, read.centre[:, :, None], read.scale[:, :, None])
        if self.spread is None:
            return values
        return self.spread.around(values[:, :, 0], volatility(read.context, read.known, self.scaling.season))

    def outputs(self, inputs: Mapping[str, Array]) -> Array:
        """The network alone: what it reads, by name, to its quantiles [N, H, Q], or [N, H, 1], in its own numbers."""
        single = {name: told.astype(np.float32) for name, told in inputs.items()}
        return np.asarray(self._session.run(None, single)[0], dtype=np.float64)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1  # windows are forecast side by side
        return onnxruntime.InferenceSession(self.network, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInputs:
    """What a network reads of the usable ones of N windows, and how its numbers are read back."""

    usable: npt.NDArray[np.bool_]  # [N]
    context: Array  # [n, L], in units of the series, gaps filled
    known: npt.NDArray[np.bool_]  # [n, L]
    centre: Array  # [n, 1]
    scale: Array  # [n, 1]
    inputs: dict[str, Array]


def read_windows(panel: Panel, features: FeatureArrays, windows: Windows, scaling: Scaling, length: int) -> ModelInputs:
    """The inputs of a network at some windows of a panel."""
    return read_contexts(panel, features, windows, contexts_of(panel, windows, length), scaling)


def read_contexts(
    panel: Panel,
    features: FeatureArrays,
    windows: Windows,
    contexts: tuple[Array, npt.NDArray[np.bool_]],
    scaling: Scaling,
) -> ModelInputs:
    """The inputs of a network at windows of a panel whose values [N, L], and which are known, are told."""
    context, known = contexts
    usable = scaling.usable(context)
    windows, context, known = windows.take(usable), context[usable], known[usable]
    centre, scale = scaling.of_windows(context, known, [panel.series[s] for s in windows.series])
    numbers = scaling.numbers(context, centre, scale)
    return ModelInputs(
        usable=usable,
        context=context,
        known=known,
        centre=centre,
        scale=scale,
        inputs=inputs_of(panel, features, windows, numbers, known),
    )


def volatility(context: Array, known: npt.NDArray[np.bool_], season: int) -> Array:
    """The mean absolute seasonal difference of each window, or from value to value where it has none: [N, 1].

    1 where all of them are zero.
    """
    change = np.zeros((len(context), 1))
    for lag in (season, 1):
        if context.shape[1] > lag:
            change = np.where(change > 0, change, _mean_change(context, known, lag))
    return np.where(change > 0, change, 1.0)


def _mean_change(context: Array, known: npt.NDArray[np.bool_], lag: int) -> Array:
    both = known[:, lag:] & known[:, :-lag]
    change = np.where(both, np.abs(context[:, lag:] - context[:, :-lag]), 0.0).sum(axis=1, keepdims=True)
    mean: Array = change / np.maximum(both.sum(axis=1, keepdims=True), 1)
    return mean


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """The manifest of a model directory's files."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return json.dumps({"format": 1, "files": digests}, indent=1).encode()


def model_hash_of(files: Mapping[str, bytes]) -> str:
    """The hash of a model directory: of its manifest, which knows those of the other files."""
    return hashlib.sha256(files.get("manifest.json", b"")).hexdigest()


def load_forecaster(files: Mapping[str, bytes], model_hash: str) -> Forecaster:
    """The forecaster in a model directory, checked before anything of it is used.

    Raises:
        ModelRefused: a file is missing or changed, or the network does not give the golden outputs.
    """
    fields = fields_of(files, model_hash)
    forecaster = Forecaster(
        network=files["network.onnx"],
        scaling=scaling_from_dict(fields["scaling"]),
        features=features_from_dict(fields["features"]),
        needs=ContextRequirements(**fields["needs"]),
        horizon=int(fields["horizon"]),
        spread=_spread_of(fields["spread"]),
        cutoff=np.datetime64(fields["cutoff"], "us"),
        model_hash=model_hash,
        calibration=Calibration.from_dict(fields["calibration"]) if fields.get("calibration") else None,
    )
    _check_golden(forecaster, files["golden.npz"])
    return forecaster


def fields_of(files: Mapping[str, bytes], model_hash: str) -> dict[str, Any]:
    """What a model directory says of its network; its files are compared with what was recorded before.

    Raises:
        ModelRefused: one is missing or was changed, or an earlier release wrote them.
    """
    check_files(files, model_hash)
    fields: dict[str, Any] = json.loads(files["forecaster.json"])
    if "needs" not in fields:
        raise ModelRefused(
            f"model {model_hash[:12]} was made by an earlier release, which wrote other fields; train again"
        )
    return fields


def _spread_of(fields: Mapping[str, Any] | None) -> IntervalWidths | None:
    return None if fields is None else IntervalWidths(**{name: np.array(told) for name, told in fields.items()})


def check_files(files: Mapping[str, bytes], model_hash: str) -> None:
    """Compare every file of a model directory with what was recorded.

    Raises:
        ModelRefused: one is missing or was changed.
    """
    if model_hash_of(files) != model_hash:
        raise ModelRefused(f"model {model_hash[:12]}: its manifest is not the one that was recorded; train again")
    for name, digest in json.loads(files["manifest.json"])["files"].items():
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise ModelRefused(f"model {model_hash[:12]}: {name} is missing or was changed; train again")


def _check_golden(forecaster: Forecaster, golden: bytes) -> None:
    with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
        inputs = {name: arrays[name] for name in arrays.files if name != "outputs"}
        expected = arrays["outputs"]
    difference = float(np.abs(forecaster.outputs(inputs) - expected).max())
    if not difference <= GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelRefused(
            f"model {forecaster.model_hash[:12]}: the network gives other numbers here than where it was trained "
            f"(difference {difference:.2g}, expected at most {GOLDEN_TOLERANCE:g}); train again"
        )
