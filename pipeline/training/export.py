"""A fitted network as numbers and files: what it gives, its weights, its export."""

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


def predict(network: keras.Model, inputs: Array | dict[str, Array]) -> Array:
    """A network's outputs, of one input [N, ...] or of several by name."""
    single = tf.nest.map_structure(lambda one: np.asarray(one, np.float32), inputs)
    return np.asarray(network.predict(single, batch_size=1024, verbose=0), dtype=np.float64)


def attention_weights(trunk: keras.Model, inputs: dict[str, Array]) -> Array | None:
    """What a network gives to each step of its windows [N, L]; None if it has no attention."""
    network = next((layer for layer in trunk.layers if layer.name == "attention"), None)
    if network is None:
        return None
    weigh = keras.Model(network.input, network.get_layer("attention").output)
    weights = predict(keras.Model(trunk.input, weigh(trunk.get_layer("steps").output)), inputs)
    return weights.reshape(weights.shape[:2])


def pack_weights(networks: Sequence[keras.Model]) -> bytes:
    """All members' weights as an npz file, named by member and position."""
    arrays = {
        f"{member}.{position:03d}": weight
        for member, network in enumerate(networks)
        for position, weight in enumerate(network.get_weights())
    }
    return to_npz(arrays)


def unpack_weights(weights: bytes) -> list[list[Array]]:
    """What `weights_of` wrote, one list a member."""
    members: dict[int, list[Array]] = {}
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            members.setdefault(int(name.split(".")[0]), []).append(arrays[name])
    return [members[member] for member in sorted(members)]


def to_npz(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def export_network(network: keras.Model, example: Array | dict[str, Array]) -> tuple[bytes, bytes]:
    """The network as ONNX and as a Keras archive. `example` is what it is first called with."""
    import onnx

    predict(network, example)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, keras_path = Path(folder) / "network.onnx", Path(folder) / "network.keras"
        network.export(str(onnx_path), format="onnx", verbose=False)
        network.save(keras_path)
        graph = onnx.load(str(onnx_path))
        for value in [*graph.graph.input, *graph.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_param = "windows"
        return canonicalize(graph).SerializeToString(deterministic=True), keras_path.read_bytes()
