"""One LSTM for all series of a panel: it corrects the last season, in units of the window's own volatility.

A window of values x up to the origin is turned into steps, each step's input relative to a level and a scale
that come from the window alone:

    level   last value of the window (or of the frame); mean of a folded window whose base is a season
    scale   s = 2 mean |x_t - x_{t-1}| + ε, over pairs of known values
    base    last season repeated over the horizon, or the last value; gated: between both, by how seasonal the window is
    output  base + s · net(steps)

Two ways to make steps (Smyl, 2020, International Journal of Forecasting 36(1), for the second):

    fold    long series: one step reads `size` periods at once, the last `skip` scaled values also go straight to
            the output layer, the loss is at the end of the window
    frame   short series: each step is the last `size` periods relative to their own last value, and the loss is at
            every position

A folded window may be read without its profile: the mean at each place of a longer season. The base gets it back.
Base, level, scale and profile use known values alone. A place of the last season that is unknown has the value of the
season before; a position of a frame where a place was never known does not count in the loss.
The LSTM learns from the error of the median alone. The other quantiles are read from the states that it has learned.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import build_inputs, num_latent, predict_scaled_quantiles
from pipeline.models.specs import InputSpec
from pipeline.models.window_steps import make_steps

#: scale of the output layer's initial weights: at first the forecast is close to the base
_SMALL = 0.09


def step_features(features: Any, *, kind: str, size: int) -> Any:
    """Features of a context [B, L, F] for each of its T steps.

    Returns:
        of a frame those of its last period, [B, T, F]; of a fold those of all its periods, [B, T, size x F].
    """
    if kind == "frame":
        return features[:, size - 1 :]
    _, length, num_features = features.shape
    num_steps = length // size
    return ops.reshape(features[:, length - num_steps * size :], (-1, num_steps, size * num_features))


def gather_ahead(context: Any, ahead: Any, positions: int) -> Any:
    """Features known ahead over the horizon of each of the last `positions` positions: [B, T, H, F].

    The horizon of position t are the H periods after it, from the context [B, L, F] and from beyond it [B, H, F].
    """
    periods = ops.concatenate([context, ahead], axis=1)
    first = context.shape[1] - positions + 1
    return ops.take(periods, first + np.arange(positions)[:, None] + np.arange(ahead.shape[1]), axis=1)


def build_trunk(
    config: GlobalLSTMConfig, *, input_spec: InputSpec, units: int, levels: int, at_origin: bool = False
) -> keras.Model:
    """Build the trunk (see `heads`) of one member of the global network.

    Its context [B, L, 2 + F] has the values, whether they are known, and the features.

    Args:
        config: what the member reads.
        input_spec: features of the recipe.
        units: of the LSTM.
        levels: quantile levels (K); 1: one number a step.
        at_origin: forecast from the last position alone, which is all that a forecast needs.
    """
    horizon = input_spec.horizon
    inputs = build_inputs(input_spec, config.context)
    context = inputs["context"]
    window = make_steps(context[:, :, :2], config, horizon)
    all_positions = config.kind == "frame" and not at_origin
    output = keras.layers.LSTM(units, return_sequences=all_positions)(_join_features(inputs, window.steps, config))
    base, scale, weight = window.base, window.scale, window.weight
    if not all_positions:
        base, scale, weight = base[:, -1:], scale[:, -1:], weight[:, -1:]
        output = keras.layers.Reshape((1, units))(output)
    if config.skip:
        output = keras.layers.Concatenate()([output, window.skip])
    ahead = None
    if input_spec.ahead:
        ahead = gather_ahead(context[:, :, -input_spec.ahead :], inputs["ahead"], output.shape[1])
    middle = _dense_per_step(output, horizon, 1 + num_latent(input_spec), "middle")
    if levels > 1:
        distances = _dense_per_step(ops.stop_gradient(output), horizon, levels - 1, "distances")
    else:
        distances = middle[..., :0]
    scaled = predict_scaled_quantiles(middle, distances, ahead)
    return keras.Model(inputs, [scaled, base, scale, weight])


def _join_features(inputs: dict[str, Any], steps: Any, config: GlobalLSTMConfig) -> Any:
    """Steps [B, T, F] with the features of their periods and of their series."""
    parts = [steps]
    if inputs["context"].shape[-1] > 2:
        parts.append(step_features(inputs["context"][:, :, 2:], kind=config.kind, size=config.size))
    if "static" in inputs:
        parts.append(keras.layers.RepeatVector(steps.shape[1])(inputs["static"]))
    return keras.layers.Concatenate()(parts) if len(parts) > 1 else steps


def _dense_per_step(output: Any, horizon: int, count: int, name: str) -> Any:
    """Predict `count` numbers for each step of the horizon from the output at each position: [B, T, H, count]."""
    small = keras.initializers.VarianceScaling(_SMALL, "fan_avg", "uniform")
    numbers = keras.layers.Dense(horizon * count, kernel_initializer=small, name=name)(output)
    return keras.layers.Reshape((output.shape[1], horizon, count))(numbers)
