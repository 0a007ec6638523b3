"""One LSTM for all series of a panel: it corrects the last season, in units of the window's own volatility.

A window of values x up to the origin is turned into steps, each step's input relative to a level and a scale
that come from the window alone:

    level   last value of the window (or of the frame); mean of a folded window whose base is a season
    scale   s = 2 mean |x_t - x_{t-1}| + ε, over pairs of known values
    base    last season repeated over the horizon, or the last value
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

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import (
    build_inputs,
    fill_by_season,
    known_mean,
    mean_change,
    num_latent,
    predict_scaled_quantiles,
    repeat_season,
)
from pipeline.models.specs import InputSpec

#: smallest scale: values are logarithms, or relative to the level of their series
_LEAST_SCALE = 1e-3
#: scale of the output layer's initial weights: at first the forecast is close to the base
_SMALL = 0.09


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowSteps:
    """Windows as the LSTM reads them, with T positions from which forecasts are made, the last of them at the origin."""

    #: inputs of the LSTM; of a fold T' steps, with one position after the last of them
    steps: Any  # [B, T, F] or [B, T', F]
    #: scaled values that go straight to the output layer
    skip: Any  # [B, T, K]
    base: Any  # [B, T, H]
    scale: Any  # [B, T, 1]
    #: whether a position counts in the loss
    weight: Any  # [B, T]


def make_steps(context: Any, config: GlobalLSTMConfig, horizon: int) -> WindowSteps:
    """Turn windows [B, L, 2] into scaled steps.

    The two channels are the values, filled where nothing is known, and whether they are known (1 or 0).
    """
    make = _make_frames if config.kind == "frame" else _make_folds
    return make(context[:, :, 0], context[:, :, 1], config, horizon)


def _make_frames(values: Any, is_known: Any, config: GlobalLSTMConfig, horizon: int) -> WindowSteps:
    """Read each position t of windows [B, L] as the `size` values up to t, in units of their own volatility."""
    size = config.size
    num_frames = values.shape[1] - size + 1
    frames = ops.take(values, np.arange(num_frames)[:, None] + np.arange(size), axis=1)  # [B, T, size]
    level = frames[:, :, -1:]
    scale = (
        2 * mean_change(values, is_known, _pairs_of_frames(num_frames, size))[:, :, None] + _LEAST_SCALE
    )  # [B, T, 1]
    steps = ops.concatenate([(frames - level) / scale, 0.5 * ops.log(scale)], axis=-1)
    base, is_base_known = _season_before_frames(values, is_known, config, horizon)
    num_known = ops.cumsum(is_known, axis=1)[:, size - 1 :]  # [B, T]
    weight = ops.cast(num_known >= config.least_known, values.dtype) * is_known[:, size - 1 :] * is_base_known
    return WindowSteps(steps=steps, skip=steps[:, :, :0], base=base, scale=scale, weight=weight)


def _pairs_of_frames(num_frames: int, size: int) -> Any:
    """Whether a pair of neighbours, the second being period 1 … L - 1 of a window, lies in a frame (1 or 0): [L - 1, T]."""
    pair, frame = np.arange(num_frames + size - 2)[:, None], np.arange(num_frames)
    return ((pair >= frame) & (pair < frame + size - 1)).astype(np.float32)


def _season_before_frames(values: Any, is_known: Any, config: GlobalLSTMConfig, horizon: int) -> tuple[Any, Any]:
    """The last season up to each position of windows [B, L], repeated over the horizon: [B, T, H].

    And whether all of its values are known, here or a season or more before (1 or 0): [B, T].
    """
    if config.base > 1:
        values, is_known = fill_by_season(values, is_known, config.base)
    else:
        is_known = ops.ones_like(is_known)  # a position counts only where its last value is known
    first = np.arange(config.size - config.base, values.shape[1] - config.base + 1)[:, None]  # [T, 1]
    base = ops.take(values, first + np.arange(horizon) % config.base, axis=1)
    return base, ops.min(ops.take(is_known, first + np.arange(config.base), axis=1), axis=2)


def _make_folds(values: Any, is_known: Any, config: GlobalLSTMConfig, horizon: int) -> WindowSteps:
    """Cut windows [B, L] from their end into steps of `size` values, in units of the window's volatility."""
    size, length = config.size, values.shape[1]
    profile_ahead = 0.0
    if config.profile:
        profile, profile_ahead = _seasonal_profile(values, is_known, config.profile, horizon)
        values = values - profile
    level = known_mean(values, is_known) if config.base > 1 else values[:, -1:]  # [B, 1]
    scale = 2 * mean_change(values, is_known, np.ones((length - 1, 1), np.float32)) + _LEAST_SCALE  # [B, 1]
    scaled = (values - level) / scale * is_known  # [B, L]

    num_steps = length // size
    start = length - num_steps * size
    folds = ops.reshape(scaled[:, start:], (-1, num_steps, size))
    first_is_known = ops.reshape(is_known[:, start:], (-1, num_steps, size))[:, :, :1]
    log_scale = ops.ones_like(first_is_known) * (0.3 * ops.log(scale))[:, :, None]

    base_values = fill_by_season(values, is_known, config.base)[0] if config.base > 1 else values

    return WindowSteps(
        steps=ops.concatenate([folds, first_is_known, log_scale], axis=-1),
        skip=scaled[:, None, length - config.skip :] if config.skip else scaled[:, None, :0],
        base=(repeat_season(base_values, config.base, horizon) + profile_ahead)[:, None, :],
        scale=scale[:, :, None],
        weight=is_known[:, -1:],
    )


def _seasonal_profile(values: Any, is_known: Any, period: int, horizon: int) -> tuple[Any, Any]:
    """Mean at each place of a season of `period` less the mean of all places: in the window [B, L], and ahead [B, H].

    0 where a place has no known value in the window.
    """
    length = values.shape[1]
    num_seasons = length // period
    start = length - num_seasons * period
    sums, known = (
        ops.reshape(channel[:, start:], (-1, num_seasons, period)) for channel in (values * is_known, is_known)
    )
    num_known = ops.sum(known, axis=1)  # [B, period]
    profile = ops.sum(sums, axis=1) / ops.maximum(num_known, 1.0)
    is_complete = ops.cast(ops.min(num_known, axis=1, keepdims=True) > 0, values.dtype)
    profile = (profile - ops.mean(profile, axis=1, keepdims=True)) * is_complete
    in_window = ops.concatenate([profile] * (num_seasons + 1), axis=1)[:, (num_seasons + 1) * period - length :]
    return in_window, repeat_season(profile, period, horizon)


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
