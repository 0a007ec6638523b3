"""A forecaster: a fitted network with its scaler and its spread; saved, loaded and used whole.

A model is one directory with one hash. The network is ONNX: numbers and a fixed set of operators, no
code; forecasts are computed by ONNX Runtime, without TensorFlow.

| file | what |
|---|---|
| network.onnx | the network, context [N, L, F] to target [N, H] or its quantiles [N, H, Q], in its own units |
| weights.npz | the same numbers, for fine-tuning |
| forecaster.json | its units (scaler and spread, or relative to the level), cutoff, sizes, the recipe, library versions |
| golden.npz | one batch of inputs with the outputs that Keras gave |
| manifest.json | the sha256 of each file; its own sha256 is the model's hash |
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelRefused
from pipeline.forecast import LEVELS
from pipeline.panel import Panel
from pipeline.scaling import Scaler, scaler_from_dict
from pipeline.units import contexts_of, from_units, to_units
from pipeline.windows import context_at_origin

Array = npt.NDArray[np.float64]

#: largest difference allowed between ONNX Runtime here and Keras at training
GOLDEN_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Width of the intervals: quantile q of step h lies `by_step[h] * at_level[q]` window scales from the mean."""

    by_step: Array  # [H]
    at_level: Array  # [Q]

    def around(self, mean: Array, scale: Array) -> Array:
        """Quantiles [N, H, Q] around mean [N, H] of windows with scale [N, 1]."""
        return mean[:, :, None] + (scale * self.by_step)[:, :, None] * self.at_level


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """A network that reads whole contexts in a scaler's units and gives a mean, with intervals from past errors."""

    scaler: Scaler
    spread: Spread

    #: what a series lacks that such a network does not forecast
    lacks = "the context at the origin is not complete"

    def predict(self, forecaster: Forecaster, panel: Panel) -> tuple[npt.NDArray[np.int64], Array, Array]:
        """As `Forecaster.predict`."""
        context, series = context_at_origin(panel, forecaster.context)
        if len(series) == 0:
            return series, np.empty((0, forecaster.horizon)), np.empty((0, forecaster.horizon, len(LEVELS)))
        scale = self.scaler.of_windows(context, panel.series, series)
        mean = scale.values(forecaster.outputs(scale.inputs(context)))
        return series, mean, self.spread.around(mean, scale.scale)


@dataclass(frozen=True, kw_only=True, slots=True)
class Relative:
    """A network that reads values relative to the level of their window, known or not, and gives quantiles."""

    #: whether it reads and gives logarithms of them
    logarithms: bool
    #: values that a window has to have
    least_known: int

    @property
    def lacks(self) -> str:
        """What a series lacks that such a network does not forecast."""
        positive = ", all of them positive," if self.logarithms else ""
        return f"the network needs {self.least_known} values{positive} in the context and one at the origin"

    def inputs(self, context: Array, known: npt.NDArray[np.bool_]) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
        """What the network reads [N, L, 2] of filled contexts [N, L], their levels [N, 1, 1], and which are usable [N]."""
        usable = (known.sum(axis=1) >= self.least_known) & known[:, -1]
        if self.logarithms:
            usable &= (context > 0).all(axis=1)
            context = np.where(usable[:, None], context, 1.0)
        level = np.abs(context * known).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
        level = np.where(level > 0, level, 1.0)
        values = to_units(context, level, logarithms=self.logarithms)
        return np.stack([values, known], axis=-1), level[:, :, None], usable

    def values(self, outputs: Array, level: Array) -> Array:
        """The network's quantiles [N, H, Q] in the units of the series."""
        return from_units(outputs, level, logarithms=self.logarithms)

    def predict(self, forecaster: Forecaster, panel: Panel) -> tuple[npt.NDArray[np.int64], Array, Array]:
        """As `Forecaster.predict`; the point forecast is the median."""
        newest = len(panel.grid) - 1
        series = np.flatnonzero(panel.last == newest)
        context, known = contexts_of(panel, series, np.full(len(series), newest), forecaster.context)
        inputs, level, usable = self.inputs(context, known)
        quantiles = np.empty((int(usable.sum()), forecaster.horizon, len(LEVELS)))
        if usable.any():
            quantiles = self.values(forecaster.outputs(inputs[usable]), level[usable])
        return series[usable], quantiles[:, :, len(LEVELS) // 2], quantiles


@dataclass(frozen=True, kw_only=True)
class Forecaster:
    """Predicts the H periods after a context of L."""

    network: bytes
    #: the units of what goes in and comes out
    units: Scaled | Relative
    context: int
    horizon: int
    cutoff: np.datetime64
    model_hash: str

    def predict(self, panel: Panel) -> tuple[npt.NDArray[np.int64], Array, Array]:
        """Forecast from the panel's origin every series that has there what the network needs.

        Returns:
            which series [N], their means [N, H] and their quantiles [N, H, Q].
        """
        return self.units.predict(self, panel)

    def outputs(self, inputs: Array) -> Array:
        """The network alone: context [N, L, F] to target [N, H] or its quantiles [N, H, Q], in its own units."""
        session = self._session
        name = session.get_inputs()[0].name
        return np.asarray(session.run(None, {name: inputs.astype(np.float32)})[0], dtype=np.float64)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(self.network, options, providers=["CPUExecutionProvider"])


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    """The manifest of a model directory's files; its sha256 is the model's hash."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    return json.dumps({"format": 1, "files": digests}, indent=1).encode()


def load_forecaster(files: Mapping[str, bytes], model_hash: str) -> Forecaster:
    """The forecaster in a model directory, checked before anything of it is used.

    Raises:
        ModelRefused: a file is missing or changed, or the network does not give the golden outputs.
    """
    check_files(files, model_hash)
    fields = json.loads(files["forecaster.json"])
    forecaster = Forecaster(
        network=files["network.onnx"],
        units=_units_of(fields),
        context=int(fields["context"]),
        horizon=int(fields["horizon"]),
        cutoff=np.datetime64(fields["cutoff"], "us"),
        model_hash=model_hash,
    )
    _check_golden(forecaster, files["golden.npz"])
    return forecaster


def _units_of(fields: Mapping[str, Any]) -> Scaled | Relative:
    if "relative" in fields:
        return Relative(**fields["relative"])
    by_step, at_level = (np.array(fields["spread"][name]) for name in ("by_step", "at_level"))
    return Scaled(scaler=scaler_from_dict(fields["scaler"]), spread=Spread(by_step=by_step, at_level=at_level))


def check_files(files: Mapping[str, bytes], model_hash: str) -> None:
    """Compare every file of a model directory with what was recorded.

    Raises:
        ModelRefused: one is missing or was changed.
    """
    manifest = files.get("manifest.json", b"")
    if hashlib.sha256(manifest).hexdigest() != model_hash:
        raise ModelRefused(f"model {model_hash[:12]}: its manifest is not the one that was recorded; train again")
    for name, digest in json.loads(manifest)["files"].items():
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise ModelRefused(f"model {model_hash[:12]}: {name} is missing or was changed; train again")


def _check_golden(forecaster: Forecaster, golden: bytes) -> None:
    with np.load(io.BytesIO(golden), allow_pickle=False) as arrays:
        inputs, expected = arrays["inputs"], arrays["outputs"]
    difference = float(np.abs(forecaster.outputs(inputs) - expected).max())
    if not difference <= GOLDEN_TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise ModelRefused(
            f"model {forecaster.model_hash[:12]}: the network gives other numbers here than where it was trained "
            f"(difference {difference:.2g}, expected at most {GOLDEN_TOLERANCE:g}); train again"
        )
