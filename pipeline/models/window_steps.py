"""The arithmetic in front of an LSTM and behind it: windows become scaled steps, outputs become quantiles.

It is written once and computes two things. Keras tensors are computed with, or trained through. An `OnnxTensor` writes
the same arithmetic into the graph of the network that forecasts, without Keras, which is imported only for its own
tensors. `global_lstm` describes what the steps mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import numpy as np

from pipeline.models import onnx_ops
from pipeline.models.global_lstm_config import GlobalLSTMConfig

#: smallest scale: values are logarithms, or relative to the level of their series
_LEAST_SCALE = 1e-3


def _ops_of(tensor: Any) -> Any:
    """The module of operations for a tensor: `keras.ops`, or the functions of the same names that write ONNX nodes."""
    if isinstance(tensor, onnx_ops.OnnxTensor):
        return onnx_ops
    from keras import ops

    return ops


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
    ops = _ops_of(values)
    size = config.size
    num_frames = values.shape[1] - size + 1
    frames = ops.take(values, np.arange(num_frames)[:, None] + np.arange(size), axis=1)  # [B, T, size]
    level = frames[:, :, -1:]
    scale = (
        2 * mean_change(values, is_known, _pairs_of_frames(num_frames, size))[:, :, None] + _LEAST_SCALE
    )  # [B, T, 1]
    steps = ops.concatenate([(frames - level) / scale, 0.5 * ops.log(scale)], axis=-1)
    base, is_base_known = _season_before_frames(values, is_known, config, horizon)
    if config.gated:
        last, _ = _season_before_frames(values, is_known, replace(config, base=1), horizon)
        base = last + _seasonality(values, is_known, config.base)[:, size - 1 :, None] * (base - last)
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
    ops = _ops_of(values)
    if config.base > 1:
        values, is_known = fill_by_season(values, is_known, config.base)
    else:
        is_known = ops.ones_like(is_known)  # a position counts only where its last value is known
    first = np.arange(config.size - config.base, values.shape[1] - config.base + 1)[:, None]  # [T, 1]
    base = ops.take(values, first + np.arange(horizon) % config.base, axis=1)
    return base, ops.min(ops.take(is_known, first + np.arange(config.base), axis=1), axis=2)


def _seasonality(values: Any, is_known: Any, season: int) -> Any:
    """How seasonal windows [B, L] are up to each of their periods, from 0 to 1: [B, L].

    1 / (1 + r^4), where r is the mean change over a season relative to that over parts of one: a half where the last
    season says as much of the next one as the last value does. 1 before there is a second season.
    """
    ops = _ops_of(values)

    def mean_change_over(lags: Sequence[int]) -> Any:
        sums: Any = 0.0
        counts: Any = 0.0
        for lag in lags:
            is_pair = is_known[:, lag:] * is_known[:, :-lag]
            changes = ops.abs(values[:, lag:] - values[:, :-lag]) * is_pair
            sums = sums + ops.pad(changes, ((0, 0), (lag, 0)))
            counts = counts + ops.pad(is_pair, ((0, 0), (lag, 0)))
        return ops.cumsum(sums, axis=1) / ops.maximum(ops.cumsum(counts, axis=1), 1.0)

    parts = [max(season * quarters // 4, 1) for quarters in range(4)]
    ratio = (mean_change_over([season]) + _LEAST_SCALE) / (mean_change_over(parts) + _LEAST_SCALE)
    square = ratio * ratio
    return ops.ones_like(square) / (square * square + 1.0)


def _make_folds(values: Any, is_known: Any, config: GlobalLSTMConfig, horizon: int) -> WindowSteps:
    """Cut windows [B, L] from their end into steps of `size` values, in units of the window's volatility."""
    ops = _ops_of(values)
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
    ops = _ops_of(values)
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


def repeat_season(values: Any, season: int, horizon: int) -> Any:
    """Repeat the last `season` values of windows [B, L] over the horizon: [B, H]."""
    ops = _ops_of(values)
    last = values[:, -season:]
    seasons = ops.concatenate([last] * -(-horizon // season), axis=1) if horizon > season else last
    return seasons[:, :horizon]


def fill_by_season(values: Any, is_known: Any, season: int) -> tuple[Any, Any]:
    """Replace what is unknown in windows [B, L] by the newest known value before it at the same place of the season.

    Returns:
        the values [B, L], and whether such a value is known (1 or 0) [B, L]; where none is, the value means nothing.
    """
    ops = _ops_of(values)
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
    ops = _ops_of(values)
    changes = ops.abs(values[:, 1:] - values[:, :-1])
    is_pair = is_known[:, 1:] * is_known[:, :-1]
    is_next = is_known[:, 1:] * ops.cast(ops.cumsum(is_known, axis=1)[:, :-1] > 0, values.dtype)
    num_pairs, num_next = ops.matmul(is_pair, is_counted), ops.matmul(is_next, is_counted)
    of_pairs = ops.matmul(changes * is_pair, is_counted) / ops.maximum(num_pairs, 1.0)
    of_next = ops.matmul(changes * is_next, is_counted) / ops.maximum(num_next, 1.0)
    return ops.where(num_pairs > 0, of_pairs, of_next)


def known_mean(values: Any, is_known: Any) -> Any:
    """Mean of the known values of windows [B, L], whose mask is 1 or 0: [B, 1]; 0 without any."""
    ops = _ops_of(values)
    num_known = ops.maximum(ops.sum(is_known, axis=1, keepdims=True), 1.0)
    return ops.sum(values * is_known, axis=1, keepdims=True) / num_known


def build_quantiles(middle: Any, distances: Any) -> Any:
    """Turn a middle quantile [..., 1] and distances [..., K - 1] into K ascending quantiles that cannot cross.

    Softplus makes the distances positive. The gradient of the other quantiles does not reach the middle one.
    """
    ops = _ops_of(distances)
    steps = ops.split(ops.softplus(distances), distances.shape[-1], axis=-1)
    num_below, centre = len(steps) // 2, ops.stop_gradient(middle)
    below = [centre - distance for distance in accumulate(reversed(steps[:num_below]))]
    above = [centre + distance for distance in accumulate(steps[num_below:])]
    return ops.concatenate([*reversed(below), middle, *above], axis=-1)


def to_units_of_context(scaled: Any, base: Any, scale: Any, shrinkage: float) -> Any:
    """Quantiles at the origin in units of the context, [B, H, K].

    Args:
        scaled: quantiles at the origin, [B, H, K].
        base: of all positions, the last of which is the origin, [B, T, H].
        scale: of the same positions, [B, T, 1].
        shrinkage: factor of the middle quantile's distance from the base: 1 keeps the forecast, 0 gives the base. The
            other quantiles move with the middle one.
    """
    if shrinkage < 1:
        middle = scaled.shape[-1] // 2
        scaled = scaled - (1 - shrinkage) * scaled[..., middle : middle + 1]
    return base[:, -1, :, None] + scale[:, -1, :, None] * scaled
