"""What every network ends with: numbers for each step become quantiles, and those the units of the context.

A trunk is a network that gives the parts of forecasts from T positions of its windows:

    scaled [B, T, H, K]   quantiles, or one number, in units of `scale` above `base`
    base [B, T, H]        what the network corrects
    scale [B, T, 1]
    weight [B, T]         whether a position counts when the network is fitted; the last one is the origin
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import keras
from keras import ops

from pipeline.models.specs import InputSpec

#: numbers for each step that the head goes on with where something is known ahead
NUM_LATENT = 4
#: units of the layer that joins them with what is known ahead
_UNITS_AHEAD = 32


def build_quantiles(middle: Any, distances: Any) -> Any:
    """A middle number [..., 1] and distances [..., K - 1] as K quantiles that cannot cross.

    Softplus makes the distances positive; the middle one does not learn from the others.
    """
    each = ops.split(ops.softplus(distances), distances.shape[-1], axis=-1)
    count, centre = len(each) // 2, ops.stop_gradient(middle)
    below = [centre - distance for distance in accumulate(reversed(each[:count]))]
    above = [centre + distance for distance in accumulate(each[count:])]
    return ops.concatenate([*reversed(below), middle, *above], axis=-1)


def num_latent(reads: InputSpec) -> int:
    """Numbers for each step that the head goes on with."""
    return NUM_LATENT if reads.ahead else 0


def predict_scaled_quantiles(middle: Any, distances: Any, ahead: Any) -> Any:
    """The scaled quantiles [B, T, H, K] of a network.

    What is known ahead corrects each step from its own features and hints, with the same weights for all steps (the
    local decoder of Wen et al. 2017, "A multi-horizon quantile recurrent forecaster").

    Args:
        middle: of each step the middle number and its hints, [B, T, H, 1 + hints].
        distances: of each step those of the other quantiles, [B, T, H, K - 1].
        ahead: what is known ahead, [B, T, H, F]; none: nothing is.
    """
    count = distances.shape[-1]
    if ahead is not None:
        hidden = keras.layers.Dense(_UNITS_AHEAD, activation="relu", name="ahead_hidden")(
            keras.layers.Concatenate()([middle, ahead])
        )
        corrections = keras.layers.Dense(1 + count, kernel_initializer="zeros", name="ahead_correction")(hidden)
        middle = keras.layers.Add()([middle[..., :1], corrections[..., :1]])
        if count:
            distances = keras.layers.Add()([distances, corrections[..., 1:]])
    return build_quantiles(middle, distances) if count else middle


def repeat_season(x: Any, season: int, horizon: int) -> Any:
    """The last season of windows [B, L], repeated over the horizon: [B, H]."""
    last = x[:, -season:]
    whole = ops.concatenate([last] * -(-horizon // season), axis=1) if horizon > season else last
    return whole[:, :horizon]


def build_inputs(reads: InputSpec, context: int) -> dict[str, Any]:
    """The inputs of a network, by name."""
    return {name: keras.Input(shape, name=name) for name, shape in reads.shapes(context).items()}


def build_forecast_network(trunk: keras.Model, trust: float = 1.0) -> keras.Model:
    """A network from what a trunk reads to quantiles [B, H, K] in the units of its context.

    The middle one is as far from the base as the trunk is trusted: 1 is wholly, 0 not at all.
    """
    scaled, base, scale, _ = trunk.output
    scaled = scaled[:, -1]
    if trust < 1:
        middle = scaled.shape[-1] // 2
        scaled = scaled - (1 - trust) * scaled[..., middle : middle + 1]
    return keras.Model(trunk.input, base[:, -1, :, None] + scale[:, -1, :, None] * scaled)


def average_networks(networks: list[keras.Model], reads: InputSpec) -> keras.Model:
    """One network whose quantiles are the mean of the members', each of which reads its own length of the context."""
    lengths = [network.input["context"].shape[1] for network in networks]
    if len(networks) == 1:
        return networks[0]
    inputs = build_inputs(reads, max(lengths))
    outputs = [
        network({**inputs, "context": inputs["context"][:, -length:]})
        for network, length in zip(networks, lengths, strict=True)
    ]
    return keras.Model(inputs, keras.layers.Average(name="mean")(outputs))
