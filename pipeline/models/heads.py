"""What networks end with: outputs of each step become quantiles, and quantiles get the units of the context.

A trunk is a network that gives the parts of forecasts from T positions of its windows:

    scaled [B, T, H, K]   quantiles, or one number (K = 1), in units of `scale` above `base`
    base [B, T, H]        what the network corrects
    scale [B, T, 1]
    weight [B, T]         whether a position counts in the loss; the last position is the origin
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import keras
from keras import ops

from pipeline.models.specs import InputSpec, NetworkSpec

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


def build_quantiles(middle: Any, distances: Any) -> Any:
    """Turn a middle quantile [..., 1] and distances [..., K - 1] into K ascending quantiles that cannot cross.

    Softplus makes the distances positive. The gradient of the other quantiles does not reach the middle one.
    """
    steps = ops.split(ops.softplus(distances), distances.shape[-1], axis=-1)
    num_below, centre = len(steps) // 2, ops.stop_gradient(middle)
    below = [centre - distance for distance in accumulate(reversed(steps[:num_below]))]
    above = [centre + distance for distance in accumulate(steps[num_below:])]
    return ops.concatenate([*reversed(below), middle, *above], axis=-1)


def repeat_season(values: Any, season: int, horizon: int) -> Any:
    """Repeat the last `season` values of windows [B, L] over the horizon: [B, H]."""
    last = values[:, -season:]
    seasons = ops.concatenate([last] * -(-horizon // season), axis=1) if horizon > season else last
    return seasons[:, :horizon]


def fill_by_season(values: Any, is_known: Any, season: int) -> tuple[Any, Any]:
    """Replace what is unknown in windows [B, L] by the newest known value before it at the same place of the season.

    Returns:
        the values [B, L], and whether such a value is known (1 or 0) [B, L]; where none is, the value means nothing.
    """
    length = values.shape[1]
    num_seasons = -(-length // season)
    missing = num_seasons * season - length  # periods before the window, to begin with a whole season
    padded = (ops.pad(channel, ((0, 0), (missing, 0))) for channel in (values, is_known))
    seasons, is_known_at = (ops.reshape(channel, (-1, num_seasons, season)) for channel in padded)
    filled, is_filled = [seasons[:, 0]], [is_known_at[:, 0]]
    for n in range(1, num_seasons):
        filled.append(ops.where(is_known_at[:, n] > 0, seasons[:, n], filled[-1]))
        is_filled.append(ops.maximum(is_known_at[:, n], is_filled[-1]))
    joined = (ops.concatenate(parts, axis=1)[:, missing:] for parts in (filled, is_filled))
    values, is_known = joined
    return values, is_known


def mean_change(values: Any, is_known: Any, is_counted: Any) -> Any:
    """Mean absolute change from period to period of windows [B, L], for each of T parts of them: [B, T].

    Over the pairs of neighbours that are both known. A part without such a pair has the changes from one known value to
    the next, as far apart as they are; one without these, 0.

    Args:
        values: [B, L], a gap filled by the value before it.
        is_known: which of these are known (1 or 0), [B, L].
        is_counted: which pairs belong to which part (1 or 0), [L - 1, T].
    """
    changes = ops.abs(values[:, 1:] - values[:, :-1])
    is_pair = is_known[:, 1:] * is_known[:, :-1]
    is_next = is_known[:, 1:] * ops.cast(ops.cumsum(is_known, axis=1)[:, :-1] > 0, values.dtype)
    num_pairs, num_next = ops.matmul(is_pair, is_counted), ops.matmul(is_next, is_counted)
    of_pairs = ops.matmul(changes * is_pair, is_counted) / ops.maximum(num_pairs, 1.0)
    of_next = ops.matmul(changes * is_next, is_counted) / ops.maximum(num_next, 1.0)
    return ops.where(num_pairs > 0, of_pairs, of_next)


def known_mean(values: Any, is_known: Any) -> Any:
    """Mean of the known values of windows [B, L], whose mask is 1 or 0: [B, 1]; 0 without any."""
    num_known = ops.maximum(ops.sum(is_known, axis=1, keepdims=True), 1.0)
    return ops.sum(values * is_known, axis=1, keepdims=True) / num_known


def build_forecast_network(trunk: keras.Model, shrinkage: float = 1.0) -> keras.Model:
    """Build the network from a trunk's inputs to quantiles [B, H, K] at the origin, in units of the context.

    Args:
        trunk: as described in this module.
        shrinkage: factor of the middle quantile's distance from the base: 1 keeps the trunk's forecast, 0 gives the
            base. The other quantiles move with the middle one.
    """
    scaled, base, scale, _ = trunk.output
    scaled = scaled[:, -1]
    if shrinkage < 1:
        middle = scaled.shape[-1] // 2
        scaled = scaled - (1 - shrinkage) * scaled[..., middle : middle + 1]
    return keras.Model(trunk.input, base[:, -1, :, None] + scale[:, -1, :, None] * scaled)


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
