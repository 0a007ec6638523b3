"""Scaling inside the graph: windows are centred, scaled and masked in front of an architecture, and a head undoes it.

| scaling | centre | scale | base, which the network corrects |
|---|---|---|---|
| seasonal | mean of the last season | mean absolute seasonal difference | last season |
| last | last value | mean absolute difference | last value |
| mean | 0 | mean magnitude | 0 |
| standard | mean | standard deviation | mean |
| min-max | minimum | range | minimum |

All of them are computed over the known values of the window alone. A place of the last season that is unknown has the
value of the season before. A window without a seasonal difference takes the changes from period to period.
A scale of zero counts as 1, so a constant window stays constant. A window that was already scaled with the parameters of its series (`given`) has centre 0 and scale 1.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.models.heads import build_inputs, num_latent, predict_scaled_quantiles
from pipeline.models.network_builder import build_network
from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_steps import fill_by_season, known_mean, mean_change, repeat_season


def scale_windows(context: Any, *, kind: str, lag: int, horizon: int) -> tuple[Any, Any, Any]:
    """Scale windows by their own known values.

    Args:
        context: values and whether they are known (1 or 0), [B, L, 2].
        kind: a scaling of the table above, or "given".
        lag: periods at the window's end that the base repeats; 0: the base is the centre.
        horizon: H.

    Returns:
        the scaled and masked context [B, L, 2], the base [B, 1, H] and the scale [B, 1, 1].
    """
    values, is_known = context[:, :, 0], context[:, :, 1]
    season = fill_by_season(values, is_known, lag)[0] if lag > 1 else values
    centre, scale = _centre_and_scale(values, is_known, kind, season[:, -lag:], lag)
    scale = ops.where(scale > 0, scale, ops.ones_like(scale))
    scaled = ops.stack([(values - centre) / scale * is_known, is_known], axis=-1)
    base = repeat_season(season, lag, horizon) if lag else ops.repeat(centre, horizon, axis=1)
    return scaled, base[:, None, :], scale[:, None, :]


def _centre_and_scale(values: Any, is_known: Any, kind: str, last_season: Any, lag: int) -> tuple[Any, Any]:
    """Centre and scale of windows: both [B, 1], the scale 0 for constant windows.

    Args:
        values: of the windows, [B, L].
        is_known: which of these are known (1 or 0), [B, L].
        kind: a scaling of the table above, or "given".
        last_season: the newest known value at each place of the season, [B, lag].
        lag: periods that are compared.
    """
    if kind == "given":
        zero = ops.zeros_like(values[:, :1])
        return zero, zero
    if kind in ("seasonal", "last"):
        return ops.mean(last_season, axis=1, keepdims=True), _mean_change(values, is_known, lag)
    if kind == "min-max":
        known = ops.where(is_known > 0, values, values[:, -1:])  # the last value of a usable window is known
        minimum = ops.min(known, axis=1, keepdims=True)
        return minimum, ops.max(known, axis=1, keepdims=True) - minimum
    if kind == "mean":
        return ops.zeros_like(values[:, :1]), known_mean(ops.abs(values), is_known)
    mean = known_mean(values, is_known)
    return mean, ops.sqrt(known_mean(ops.square(values - mean), is_known))


def _mean_change(values: Any, is_known: Any, lag: int) -> Any:
    """Mean absolute difference of known values `lag` periods apart, or else from period to period: [B, 1]."""
    by_period = mean_change(values, is_known, np.ones((values.shape[1] - 1, 1), np.float32))
    if lag == 1:
        return by_period
    is_pair = is_known[:, lag:] * is_known[:, :-lag]
    num_pairs = ops.sum(is_pair, axis=1, keepdims=True)
    changes = ops.sum(ops.abs(values[:, lag:] - values[:, :-lag]) * is_pair, axis=1, keepdims=True)
    return ops.where(num_pairs > 0, changes / ops.maximum(num_pairs, 1.0), by_period)


def build_scaled_trunk(
    architecture: str, spec: NetworkSpec, input_spec: InputSpec, *, scaling: str, lag: int
) -> keras.Model:
    """Build the trunk (see `heads`) of an architecture between scaling and head, with one position: the origin.

    Args:
        architecture: a name in `ARCHITECTURES` that `build_network` knows.
        spec: sizes of the network; its `features` and `latent` are set here.
        input_spec: features of the recipe.
        scaling: a scaling of the table above, or "given".
        lag: periods that the base repeats; 0: the base is the centre.
    """
    inputs = build_inputs(input_spec, spec.context)
    scaled_context, base, scale = scale_windows(
        inputs["context"][:, :, :2], kind=scaling, lag=lag, horizon=spec.horizon
    )
    steps = keras.layers.Identity(name="steps")(_join_features(inputs, scaled_context))
    latent = num_latent(input_spec)
    network = build_network(
        architecture, replace(spec, features=input_spec.channels + input_spec.static, latent=latent)
    )
    network.name = architecture
    outputs = keras.layers.Reshape((1, spec.horizon, spec.levels + latent))(network(steps))
    middle, distances = outputs[..., : 1 + latent], outputs[..., 1 + latent :]
    ahead = keras.layers.Reshape((1, *inputs["ahead"].shape[1:]))(inputs["ahead"]) if input_spec.ahead else None
    quantiles = predict_scaled_quantiles(middle, distances, ahead)
    return keras.Model(inputs, [quantiles, base, scale, ops.ones_like(scale)[:, :, 0]])


def _join_features(inputs: dict[str, Any], scaled_context: Any) -> Any:
    """Scaled values with their mask [B, L, 2], the features of their periods, and those of their series."""
    parts = [scaled_context]
    context = inputs["context"]
    if context.shape[-1] > 2:
        parts.append(context[:, :, 2:])
    if "static" in inputs:
        parts.append(keras.layers.RepeatVector(context.shape[1])(inputs["static"]))
    return keras.layers.Concatenate()(parts) if len(parts) > 1 else scaled_context
