"""An architecture between a window's own scale and a head: its windows are centred, scaled and masked in the graph.

| scaling | centre | scale | base, which the network corrects |
|---|---|---|---|
| seasonal | mean of the last season | mean absolute seasonal difference | last season |
| last | last value | mean absolute difference | last value |
| mean | 0 | mean magnitude | 0 |
| standard | mean | standard deviation | mean |
| min-max | minimum | range | minimum |

All of them over the known values of the window alone. A scale of zero counts as 1, so a constant window stays constant.
A window that was scaled with its series' parameters (`given`) has centre 0 and scale 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import ops

from pipeline.models.build import build_network
from pipeline.models.heads import build_inputs, num_latent, predict_scaled_quantiles, repeat_season
from pipeline.models.specs import InputSpec, NetworkSpec


def scale_windows(context: Any, *, kind: str, lag: int, horizon: int) -> tuple[Any, Any, Any]:
    """A context [B, L, 2] as a network reads it [B, L, 2], its base [B, 1, H] and its scale [B, 1, 1].

    Args:
        context: values and where they are known.
        kind: as above.
        lag: periods of the window's end that are repeated as the base; 0: none.
        horizon: H.
    """
    x, known = context[:, :, 0], context[:, :, 1]
    centre, scale = _centre_and_scale(x, known, kind, lag)
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    steps = ops.stack([(x - centre) / scale * known, known], axis=-1)
    base = repeat_season(x, lag, horizon) if lag else ops.repeat(centre, horizon, axis=1)
    return steps, base[:, None, :], scale[:, None, :]


def _centre_and_scale(x: Any, known: Any, kind: str, lag: int) -> tuple[Any, Any]:
    zero = ops.zeros_like(x[:, :1])
    if kind == "given":
        return zero, zero
    count = ops.maximum(ops.sum(known, axis=1, keepdims=True), 1.0)
    if kind == "mean":
        return zero, ops.sum(ops.abs(x) * known, axis=1, keepdims=True) / count
    if kind == "standard":
        mean = ops.sum(x * known, axis=1, keepdims=True) / count
        return mean, ops.sqrt(ops.sum(ops.square(x - mean) * known, axis=1, keepdims=True) / count)
    if kind == "min-max":
        told = ops.where(known > 0, x, x[:, -1:])  # where a window can be used its last value is known
        least = ops.min(told, axis=1, keepdims=True)
        return least, ops.max(told, axis=1, keepdims=True) - least
    both = known[:, lag:] * known[:, :-lag]
    moves = ops.sum(ops.abs(x[:, lag:] - x[:, :-lag]) * both, axis=1, keepdims=True)
    change = moves / ops.maximum(ops.sum(both, axis=1, keepdims=True), 1.0)
    return ops.mean(x[:, -lag:], axis=1, keepdims=True), change


def build_scaled_trunk(
    architecture: str, sizes: NetworkSpec, reads: InputSpec, *, scaling: str, lag: int
) -> keras.Model:
    """The trunk of an architecture: one position, the origin.

    Args:
        architecture: a name in `ARCHITECTURES`, of one that is built from sizes.
        sizes: of the network; what it reads and hints at is filled in.
        reads: the features that the recipe has.
        scaling: as above.
        lag: periods that the base repeats; 0: none.
    """
    inputs = build_inputs(reads, sizes.context)
    context = inputs["context"]
    steps, base, scale = scale_windows(context[:, :, :2], kind=scaling, lag=lag, horizon=sizes.horizon)
    parts = [steps]
    if reads.channels > 2:
        parts.append(context[:, :, 2:])
    if reads.static:
        parts.append(keras.layers.RepeatVector(sizes.context)(inputs["static"]))
    steps = keras.layers.Identity(name="steps")(keras.layers.Concatenate()(parts) if len(parts) > 1 else steps)
    filled = replace(sizes, features=reads.channels + reads.static, hints=num_latent(reads))
    network = build_network(architecture, filled)
    network.name = architecture
    numbers = keras.layers.Reshape((1, sizes.horizon, sizes.levels + filled.hints))(network(steps))
    middle, distances = numbers[..., : 1 + filled.hints], numbers[..., 1 + filled.hints :]
    ahead = keras.layers.Reshape((1, *inputs["ahead"].shape[1:]))(inputs["ahead"]) if reads.ahead else None
    scaled = predict_scaled_quantiles(middle, distances, ahead)
    return keras.Model(inputs, [scaled, base, scale, ops.ones_like(scale)[:, :, 0]])
