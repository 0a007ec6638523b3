"""One LSTM for all series of a panel: it corrects the last season, in units of the window's own volatility.

A window of values x up to the origin is turned into steps, each step's input relative to a level and a scale
that come from the window alone:

    level   last value of the window (or of the frame); mean of a folded window whose base is a season
    scale   s = 2 mean |x_t - x_{t-1}| + ε
    base    last season repeated over the horizon, or the last value
    output  base + s · net(steps)

Two ways to make steps (Smyl, 2020, International Journal of Forecasting 36(1), for the second):

    fold    long series: one step reads `size` periods at once, the last `skip` scaled values also go straight to
            the output layer, the loss is at the end of the window
    frame   short series: each step is the last `size` periods relative to their own last value, and the loss is at
            every position

A folded window may be read without its profile, the mean at each place of a longer season; the base gets it back.
The LSTM learns from the error of the median alone; the other quantiles are read from the states that it has learned.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import build_inputs, num_latent, predict_scaled_quantiles, repeat_season
from pipeline.models.specs import InputSpec

#: the least scale: values are logarithms, or relative to the level of their series
_LEAST = 1e-3
#: the output layer begins near zero: at first the forecast is the base
_SMALL = 0.09


def make_steps(context: Any, design: GlobalLSTMConfig, horizon: int) -> tuple[Any, Any, Any, Any, Any]:
    """A window's values, filled where nothing is known, and where they are known, [B, L, 2], as scaled steps.

    Returns:
        steps [B, T, F], skip [B, T, K], base [B, T, H], scale [B, T, 1] and weight [B, T]: of T positions of
        which forecasts are made, the last of them at the origin.
    """
    made = _frames if design.kind == "frame" else _folds
    return made(context[:, :, 0], context[:, :, 1], design, horizon)


def _frames(x: Any, known: Any, design: GlobalLSTMConfig, horizon: int) -> tuple[Any, Any, Any, Any, Any]:
    p = design.size
    count = x.shape[1] - p + 1
    frames = ops.take(x, np.arange(count)[:, None] + np.arange(p), axis=1)  # [B, T, p]
    level = frames[:, :, -1:]
    scale = 2 * ops.mean(ops.abs(frames[:, :, 1:] - frames[:, :, :-1]), axis=-1, keepdims=True) + _LEAST
    steps = ops.concatenate([(frames - level) / scale, 0.5 * ops.log(scale)], axis=-1)
    base = ops.take(frames, p - design.base + np.arange(horizon) % design.base, axis=2)
    num_known = ops.cumsum(known, axis=1)[:, p - 1 :]  # [B, T]
    weight = ops.cast(num_known >= 2, x.dtype) * known[:, p - 1 :]
    return steps, steps[:, :, :0], base, scale, weight


def _folds(x: Any, known: Any, design: GlobalLSTMConfig, horizon: int) -> tuple[Any, Any, Any, Any, Any]:
    f, length = design.size, x.shape[1]
    count = length // f
    ahead = 0.0
    if design.profile:
        within, ahead = _profile_of(x, known, design.profile, horizon)
        x = x - within
    level = _mean(x, known) if design.base > 1 else x[:, -1:]
    moves = ops.abs(x[:, 1:] - x[:, :-1]) * known[:, :-1]
    num_moves = ops.sum(known[:, :-1], axis=1, keepdims=True)
    scale = 2 * ops.sum(moves, axis=1, keepdims=True) / ops.maximum(num_moves, 1.0) + _LEAST
    z = (x - level) / scale * known
    steps = ops.reshape(z[:, length - count * f :], (-1, count, f))
    mask = ops.reshape(known[:, length - count * f :], (-1, count, f))[:, :, :1]
    size = ops.ones_like(mask) * (0.3 * ops.log(scale))[:, :, None]
    base = (repeat_season(x, design.base, horizon) + ahead)[:, None, :]
    skip = z[:, None, length - design.skip :] if design.skip else z[:, None, :0]
    return ops.concatenate([steps, mask, size], axis=-1), skip, base, scale[:, :, None], known[:, -1:]


def _profile_of(x: Any, known: Any, period: int, horizon: int) -> tuple[Any, Any]:
    """Mean at each place of the longer season less the mean of all, in the window [B, L] and ahead [B, H]."""
    length = x.shape[1]
    count = length // period
    values, there = (ops.reshape(v[:, length - count * period :], (-1, count, period)) for v in (x * known, known))
    num_there = ops.sum(there, axis=1)  # [B, p]
    profile = ops.sum(values, axis=1) / ops.maximum(num_there, 1.0)
    is_whole = ops.cast(ops.min(num_there, axis=1, keepdims=True) > 0, x.dtype)
    profile = (profile - ops.mean(profile, axis=1, keepdims=True)) * is_whole
    within = ops.concatenate([profile] * (count + 1), axis=1)[:, (count + 1) * period - length :]
    return within, repeat_season(profile, period, horizon)


def _mean(x: Any, known: Any) -> Any:
    return ops.sum(x * known, axis=1, keepdims=True) / ops.maximum(ops.sum(known, axis=1, keepdims=True), 1.0)


def step_features(features: Any, *, kind: str, size: int) -> Any:
    """Features of a context [B, L, F] for each of its T steps: of the last period of a frame, of all in a fold.

    Returns:
        [B, T, F] or [B, T, size x F].
    """
    if kind == "frame":
        return features[:, size - 1 :]
    _, length, count = features.shape
    steps = length // size
    return ops.reshape(features[:, length - steps * size :], (-1, steps, size * count))


def gather_ahead(context: Any, ahead: Any, positions: int) -> Any:
    """What is known over the horizon of each of T positions [B, T, H, F], of the context [B, L, F] and beyond it [B, H, F].

    The position t of the context has the H periods after it.
    """
    both = ops.concatenate([context, ahead], axis=1)
    first = context.shape[1] - positions + 1
    return ops.take(both, first + np.arange(positions)[:, None] + np.arange(ahead.shape[1]), axis=1)


def build_trunk(
    design: GlobalLSTMConfig, *, reads: InputSpec, units: int, levels: int, at_origin: bool = False
) -> keras.Model:
    """The trunk of one member; its context [B, L, 2 + F] is values, where they are known, and features.

    With `at_origin` it gives forecasts from the last position alone, which is all that a forecast needs.
    """
    horizon = reads.horizon
    inputs = build_inputs(reads, design.context)
    context = inputs["context"]
    steps, skip, base, scale, weight = make_steps(context[:, :, :2], design, horizon)
    parts = [steps]
    if reads.channels > 2:
        parts.append(step_features(context[:, :, 2:], kind=design.kind, size=design.size))
    if reads.static:
        parts.append(keras.layers.RepeatVector(steps.shape[1])(inputs["static"]))
    read = keras.layers.Concatenate()(parts) if len(parts) > 1 else steps
    from_each = design.kind == "frame" and not at_origin
    output = keras.layers.LSTM(units, return_sequences=from_each)(read)
    if not from_each:
        base, scale, weight = base[:, -1:], scale[:, -1:], weight[:, -1:]
        output = keras.layers.Reshape((1, units))(output)
    if design.skip:
        output = keras.layers.Concatenate()([output, skip])
    ahead = gather_ahead(context[:, :, -reads.ahead :], inputs["ahead"], output.shape[1]) if reads.ahead else None
    middle = _per_step(output, horizon, 1 + num_latent(reads), "middle")
    distances = (
        _per_step(ops.stop_gradient(output), horizon, levels - 1, "distances") if levels > 1 else middle[..., :0]
    )
    scaled = predict_scaled_quantiles(middle, distances, ahead)
    return keras.Model(inputs, [scaled, base, scale, weight])


def _per_step(output: Any, horizon: int, count: int, name: str) -> Any:
    """So many numbers for each step of the horizon from what is known at each position: [B, T, H, count]."""
    small = keras.initializers.VarianceScaling(_SMALL, "fan_avg", "uniform")
    numbers = keras.layers.Dense(horizon * count, kernel_initializer=small, name=name)(output)
    return keras.layers.Reshape((output.shape[1], horizon, count))(numbers)
