"""Outputs and exports of a fitted network."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.forecasting.forecaster import WINDOWS_PER_BATCH
from pipeline.models.canonical_onnx import canonicalize

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KerasNetwork:
    """A network that Keras computes."""

    model: keras.Model

    def predict(self, inputs: dict[str, Array]) -> Array:
        """Compute the outputs, in single precision."""
        return predict(self.model, inputs)


def predict(network: keras.Model, inputs: Array | dict[str, Array]) -> Array:
    """Compute a network's outputs, in single precision, of one input [N, ...] or of several by name."""
    single = tf.nest.map_structure(lambda array: np.asarray(array, np.float32), inputs)
    return np.asarray(network.predict(single, batch_size=WINDOWS_PER_BATCH, verbose=0), dtype=np.float64)


def compute_once(network: keras.Model, inputs: dict[str, Array]) -> Array:
    """Compute a Keras network's outputs of a few windows, without the graph that `predict` compiles first."""
    return np.asarray(network({name: np.asarray(array, np.float32) for name, array in inputs.items()}), np.float64)


def attention_weights(trunk: keras.Model, inputs: dict[str, Array]) -> Array | None:
    """Compute the attention to each step of the windows [N, L]; None if the network has no attention."""
    network = next((layer for layer in trunk.layers if layer.name == "attention"), None)
    if network is None:
        return None
    attention = keras.Model(network.input, network.get_layer("attention").output)
    weights = predict(keras.Model(trunk.input, attention(trunk.get_layer("steps").output)), inputs)
    return weights.reshape(weights.shape[:2])


def export_onnx(network: keras.Model, example: Array | dict[str, Array]) -> bytes:
    """Export a network as canonical ONNX, for any number of windows.

    `example` are inputs to call it with first, [N, ...] or by name.
    """
    import onnx

    predict(network, example)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        network.export(str(path), format="onnx", verbose=False)
        model = onnx.load(str(path))
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "windows"
    content: bytes = canonicalize(model).SerializeToString(deterministic=True)
    return content


def export_archive(network: keras.Model) -> bytes:
    """Export a network as a Keras archive."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        return path.read_bytes()
