"""Outputs, weights and exports of a fitted network."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.training.canonical_onnx import canonicalize

Array = npt.NDArray[np.float64]

#: windows that Keras computes at a time
_WINDOWS_PER_BATCH = 1024


def predict(network: keras.Model, inputs: Array | dict[str, Array]) -> Array:
    """Compute a network's outputs, in single precision, of one input [N, ...] or of several by name."""
    single = tf.nest.map_structure(lambda array: np.asarray(array, np.float32), inputs)
    return np.asarray(network.predict(single, batch_size=_WINDOWS_PER_BATCH, verbose=0), dtype=np.float64)


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


def export_network(network: keras.Model, example: Array | dict[str, Array]) -> tuple[bytes, bytes]:
    """Export a network as canonical ONNX, for any number of windows, and as a Keras archive.

    `example` are inputs to call it with first, [N, ...] or by name.
    """
    import onnx

    predict(network, example)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, keras_path = Path(folder) / "network.onnx", Path(folder) / "network.keras"
        network.export(str(onnx_path), format="onnx", verbose=False)
        network.save(keras_path)
        model = onnx.load(str(onnx_path))
        for value in [*model.graph.input, *model.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_param = "windows"
        return canonicalize(model).SerializeToString(deterministic=True), keras_path.read_bytes()
