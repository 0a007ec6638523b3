"""What networks end with: outputs of each step become quantiles, and quantiles get the units of the context.

A trunk is a network that gives the parts of forecasts from T positions of its windows:

    scaled [B, T, H, K]   quantiles, or one number (K = 1), in units of `scale` above `base`
    base [B, T, H]        what the network corrects
    scale [B, T, 1]
    weight [B, T]         whether a position counts in the loss; the last position is the origin
"""

from __future__ import annotations

from typing import Any

import keras

from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_steps import build_quantiles, to_units_of_context

#: latent numbers for each step where features are known ahead
NUM_LATENT = 4
#: units of the layer that combines latent numbers with the features known ahead
_UNITS_AHEAD = 32


def build_inputs(input_spec: InputSpec, context: int) -> dict[str, Any]:
    """Create the inputs of a network by name, for contexts of `context` periods."""
    return {name: keras.Input(shape, name=name) for name, shape in input_spec.shapes(context).items()}


def build_head(context: Any, state: Any, spec: NetworkSpec) -> keras.Model:
    """Build the network from its input to its outputs [B, num_outputs]: dropout and a dense layer behind a state.

    Args:
        context: the network's input, [B, L, F].
        state: what its layers computed from the input, [B, units].
        spec: sizes of the network.
    """
    if spec.dropout:
        state = keras.layers.Dropout(spec.dropout)(state)
    target = keras.layers.Dense(spec.num_outputs, name="target")(state)  # [B, num_outputs]
    return keras.Model(context, target)


def num_latent(input_spec: InputSpec) -> int:
    """Number of latent numbers for each step: none where no feature is known ahead."""
    return NUM_LATENT if input_spec.ahead else 0


def predict_scaled_quantiles(middle: Any, distances: Any, ahead: Any) -> Any:
    """Scaled quantiles [B, T, H, K] of a network, corrected by the features known ahead.

    The correction of each step is computed from its own features and latent numbers, with the same weights for all
    steps (the local decoder of Wen et al. 2017, "A multi-horizon quantile recurrent forecaster").

    Args:
        middle: the middle quantile of each step and its latent numbers, [B, T, H, 1 + latent].
        distances: outputs for the other quantiles of each step, [B, T, H, K - 1].
        ahead: features known ahead, [B, T, H, F]; None without such features.
    """
    num_distances = distances.shape[-1]
    if ahead is not None:
        hidden = keras.layers.Dense(_UNITS_AHEAD, activation="relu", name="ahead_hidden")(
            keras.layers.Concatenate()([middle, ahead])
        )
        correct = keras.layers.Dense(1 + num_distances, kernel_initializer="zeros", name="ahead_correction")
        corrections = correct(hidden)  # [B, T, H, K]
        middle = keras.layers.Add()([middle[..., :1], corrections[..., :1]])
        if num_distances:
            distances = keras.layers.Add()([distances, corrections[..., 1:]])
    return build_quantiles(middle, distances) if num_distances else middle


def build_forecast_network(trunk: keras.Model, shrinkage: float = 1.0) -> keras.Model:
    """Build the network from a trunk's inputs to quantiles [B, H, K] at the origin, in units of the context.

    Args:
        trunk: as described in this module.
        shrinkage: see `to_units_of_context`.
    """
    scaled, base, scale, _ = trunk.output
    return keras.Model(trunk.input, to_units_of_context(scaled[:, -1], base, scale, shrinkage))


def average_networks(networks: list[keras.Model], input_spec: InputSpec) -> keras.Model:
    """Build one network whose quantiles are the mean over `networks`; each reads its own length of the context."""
    if len(networks) == 1:
        return networks[0]
    lengths = [network.input["context"].shape[1] for network in networks]
    inputs = build_inputs(input_spec, max(lengths))
    outputs = [
        network({**inputs, "context": inputs["context"][:, -length:]})
        for network, length in zip(networks, lengths, strict=True)
    ]
    return keras.Model(inputs, keras.layers.Average(name="mean")(outputs))
