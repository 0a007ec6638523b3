"""A forecaster: a fitted network with its scaler and its spread; saved, loaded and used whole.

A model is one directory with one hash. The network is ONNX: numbers and a fixed set of operators, no
code; forecasts are computed by ONNX Runtime, without TensorFlow.

| file | what |
|---|---|
| network.onnx | the network, scaled context [N, L, 1] to scaled target [N, H] |
| weights.npz | the same numbers, for fine-tuning |
| forecaster.json | scaler, spread, cutoff, sizes, the recipe, library versions |
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


@dataclass(frozen=True, kw_only=True)
class Forecaster:
    """Predicts the H periods after a context of L."""

    network: bytes
    scaler: Scaler
    spread: Spread
    context: int
    horizon: int
    cutoff: np.datetime64
    model_hash: str

    def predict(self, panel: Panel) -> tuple[npt.NDArray[np.int64], Array, Array]:
        """Forecast from the panel's origin every series that has a complete context there.

        Returns:
            which series [N], their means [N, H] and their quantiles [N, H, Q].
        """
        context, series = context_at_origin(panel, self.context)
        if len(series) == 0:
            return series, np.empty((0, self.horizon)), np.empty((0, self.horizon, len(LEVELS)))
        scale = self.scaler.of_windows(context, panel.series, series)
        mean = scale.values(self.outputs(scale.inputs(context)))
        return series, mean, self.spread.around(mean, scale.scale)

    def outputs(self, inputs: Array) -> Array:
        """The network alone: scaled context [N, L, 1] to scaled target [N, H]."""
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
        scaler=scaler_from_dict(fields["scaler"]),
        spread=Spread(by_step=np.array(fields["spread"]["by_step"]), at_level=np.array(fields["spread"]["at_level"])),
        context=int(fields["context"]),
        horizon=int(fields["horizon"]),
        cutoff=np.datetime64(fields["cutoff"], "us"),
        model_hash=model_hash,
    )
    _check_golden(forecaster, files["golden.npz"])
    return forecaster


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
