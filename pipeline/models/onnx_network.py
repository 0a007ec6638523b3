"""The network that forecasts, written as ONNX from the weights of a global network without features, without Keras.

It computes what `build_forecast_network` and `average_networks` do with Keras, from the same arithmetic
(`window_steps`); only the LSTM and the two layers behind it are written here once more.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.models import onnx_ops
from pipeline.models.canonical_onnx import canonicalize
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.onnx_ops import OnnxGraph, OnnxTensor
from pipeline.models.pretrained import LSTM_WEIGHTS, OUTPUT_WEIGHTS, Weights
from pipeline.models.window_steps import build_quantiles, make_steps, to_units_of_context

#: name of the output; tf2onnx gives it to the networks that it writes
_OUTPUT = "Identity:0"


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedMember:
    """What one member reads, and its weights by the names in `pretrained`."""

    config: GlobalLSTMConfig
    weights: Weights


def build_onnx_network(members: Sequence[FittedMember], horizon: int, *, shrinkage: float = 1.0) -> bytes:
    """Build the network from windows `context` [N, L, 2] to quantiles [N, H, K], in units of the context.

    L is the longest context of a member; each reads the end of it that it needs. Equal arguments give equal bytes.

    Args:
        members: at least one.
        horizon: steps that the members forecast.
        shrinkage: see `to_units_of_context`.

    Raises:
        ValueError: a member forecasts another number of steps, or there is not one share for each member.
    """
    graph = OnnxGraph()
    length = max(member.config.context for member in members)
    context = OnnxTensor(graph, "context", (None, length, 2))
    quantiles = [_forecast(context, member, horizon, shrinkage) for member in members]
    average = _average(quantiles)
    model = canonicalize(graph.build_model([context], average, _OUTPUT))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _average(quantiles: Sequence[OnnxTensor]) -> OnnxTensor:
    """Mean of the members' quantiles [N, H, K]."""
    if len(quantiles) == 1:
        return quantiles[0]
    average: OnnxTensor = reduce(operator.add, [part * (1 / len(quantiles)) for part in quantiles])
    return average


def _forecast(context: OnnxTensor, member: FittedMember, horizon: int, shrinkage: float) -> OnnxTensor:
    """Quantiles [N, H, K] of one member at the origin, in units of the context."""
    config, weights = member.config, member.weights
    window = make_steps(context[:, context.shape[1] - config.context :], config, horizon)
    state = _run_lstm(window.steps, *(weights[name] for name in LSTM_WEIGHTS))
    if config.skip:
        state = onnx_ops.concatenate([state, window.skip[:, -1]], axis=1)
    middle_kernel, middle_bias, distances_kernel, distances_bias = (weights[name] for name in OUTPUT_WEIGHTS)
    if len(middle_bias) != horizon:
        raise ValueError(f"the weights forecast {len(middle_bias)} steps, expected {horizon}: see `cut_weights`")
    middle = _dense_per_step(state, middle_kernel, middle_bias, horizon)
    distances = _dense_per_step(state, distances_kernel, distances_bias, horizon)
    scaled = build_quantiles(middle, distances)
    quantiles: OnnxTensor = to_units_of_context(scaled, window.base, window.scale, shrinkage)
    return quantiles


def _run_lstm(steps: OnnxTensor, kernel: Any, recurrent_kernel: Any, bias: Any) -> OnnxTensor:
    """Output of an LSTM at the last of steps [N, T, F]: [N, U]. The weights are in Keras's order."""
    graph, units = steps.graph, len(recurrent_kernel)
    (sequence,) = graph.add_node("Transpose", [steps.name], perm=[1, 0, 2])  # [T, N, F]
    both_biases = np.concatenate([_to_onnx_gates(bias), np.zeros((1, 4 * units))], axis=1)  # of inputs, of outputs
    weights = [graph.add_constant(part) for part in (_to_onnx_gates(kernel), _to_onnx_gates(recurrent_kernel))]
    inputs = [sequence, *weights, graph.add_constant(both_biases)]
    _, last = graph.add_node("LSTM", inputs, 2, hidden_size=units)  # [1, N, U]
    (state,) = graph.add_node("Squeeze", [last, graph.add_constant([0], "int64")])
    return OnnxTensor(graph, state, (None, units))


def _to_onnx_gates(weights: Any) -> npt.NDArray[np.float32]:
    """Weights [..., 4U], whose gates are input, forget, cell and output, as ONNX wants them: [1, 4U, ...].

    ONNX has the output gate in second place.
    """
    i, f, c, o = np.split(np.asarray(weights, np.float32), 4, axis=-1)
    return np.concatenate([i, o, f, c], axis=-1).T[None]


def _dense_per_step(state: OnnxTensor, kernel: Any, bias: Any, horizon: int) -> OnnxTensor:
    """Numbers for each step of the horizon from a state [N, U]: [N, H, count]."""
    numbers = onnx_ops.matmul(state, kernel) + bias
    return onnx_ops.reshape(numbers, (-1, horizon, numbers.shape[1] // horizon))
