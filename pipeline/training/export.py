"""Outputs, weights and exports of a fitted network."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.forecasting.forecaster import WINDOWS_PER_BATCH, create_session
from pipeline.models.canonical_onnx import canonicalize

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """A network that ONNX Runtime computes from windows [N, L, 2], its only input."""

    content: bytes

    def predict(self, context: Array) -> Array:
        """Compute the outputs in batches, which run in parallel threads."""
        session, single = create_session(self.content), context.astype(np.float32)
        batches = [single[start : start + WINDOWS_PER_BATCH] for start in range(0, len(single), WINDOWS_PER_BATCH)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            outputs = list(threads.map(lambda batch: session.run(None, {"context": batch})[0], batches))
        return np.concatenate(outputs).astype(np.float64)


def predict(network: keras.Model | OnnxNetwork, inputs: Array | dict[str, Array]) -> Array:
    """Compute a network's outputs, in single precision, of one input [N, ...] or of several by name."""
    if isinstance(network, OnnxNetwork):
        return network.predict(inputs["context"] if isinstance(inputs, dict) else inputs)
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


def pack_weights(networks: Sequence[keras.Model]) -> bytes:
    """Write the weights of all members as an npz file, named by member and position in `get_weights`."""
    arrays = {
        f"{member}.{position:03d}": weight
        for member, network in enumerate(networks)
        for position, weight in enumerate(network.get_weights())
    }
    return to_npz(arrays)


def unpack_weights(weights: bytes) -> list[list[Array]]:
    """Read what `pack_weights` wrote: one list of weights for each member."""
    members: dict[int, list[Array]] = {}
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            members.setdefault(int(name.split(".")[0]), []).append(arrays[name])
    return [members[member] for member in sorted(members)]


def to_npz(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Write arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


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
