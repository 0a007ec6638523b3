"""Losses of a trunk's forecasts from the positions of its windows: squared, absolute, Huber or pinball."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.timeseries.forecast import LEVELS

#: the median counts as much as the other levels together, so that their gradients do not dominate the clipping
LEVEL_WEIGHTS = (0.125, 0.125, 0.5, 0.125, 0.125)
#: larger errors, in scales, count by their magnitude in Huber's loss (1964, Annals of Mathematical Statistics 35)
_HUBER = 1.0
#: scale at which the relative and the scaled half of the weighting "half" are equal
_USUAL_SCALE = 0.1


def sum_losses(
    trunk: keras.Model, inputs: dict[str, Any], counts: Any, *, loss: str, weighting: str, training: bool
) -> tuple[Any, Any]:
    """Sum the losses of a trunk's forecasts over windows, positions and steps of the horizon.

    In training all positions of a window count, otherwise only the origin. Steps without a known target do not count.

    Args:
        trunk: its inputs are among `inputs`.
        inputs: by name, and `later` [B, H, 2]: the values after the context, and whether they are known.
        counts: weight of each window, [B].
        loss: of one forecast, see `pointwise_loss`.
        weighting: of an error, see `error_weight`.
        training: whether the network is being fitted.

    Returns:
        the sum of the losses, and the sum of the weights that were counted: their ratio is the mean loss.
    """
    parts = trunk({name: inputs[name] for name in trunk.input}, training=training)
    scaled, base, scale, weight = parts if training else (part[:, -1:] for part in parts)
    values = ops.concatenate([inputs["context"][:, :, :2], inputs["later"]], axis=1)  # [B, L + H, 2]
    targets, is_known = _targets(values, num_positions=scaled.shape[1], horizon=inputs["later"].shape[1])
    errors = ((targets - base) / scale)[..., None] - scaled  # [B, T, H, K]
    counted = is_known * weight[..., None] * counts[:, None, None]  # [B, T, H]
    losses = pointwise_loss(loss, errors) * error_weight(weighting, scale) * counted
    return ops.sum(losses), ops.sum(counted)


def _targets(values: Any, *, num_positions: int, horizon: int) -> tuple[Any, Any]:
    """Values after each of the last T positions of a context, and whether they are known: both [B, T, H].

    `values` are those of the context and of the horizon with their mask, [B, L + H, 2].
    """
    length = values.shape[1] - horizon
    first = length - num_positions + 1
    steps = [values[:, first + h : length + 1 + h] for h in range(horizon)]  # H times [B, T, 2]
    targets, is_known = (ops.stack([step[:, :, channel] for step in steps], axis=-1) for channel in (0, 1))
    return targets, is_known


def pointwise_loss(loss: str, errors: Any) -> Any:
    """Loss [...] of errors [..., K] in the network's units: "pinball" over K levels, "mse", "huber" or "mae" with K = 1.

    The pinball loss is doubled: of the median alone it is then the absolute error.
    """
    if loss == "pinball":
        levels, weights = (ops.convert_to_tensor(np.array(numbers, np.float32)) for numbers in (LEVELS, LEVEL_WEIGHTS))
        return 2 * ops.sum(weights * ops.maximum(levels * errors, (levels - 1) * errors), axis=-1)
    error, size = errors[..., 0], ops.abs(errors[..., 0])
    if loss == "mse":
        return error**2
    if loss == "huber":
        return ops.where(size < _HUBER, 0.5 * error**2, _HUBER * (size - 0.5 * _HUBER))
    return size


def error_weight(weighting: str, scale: Any) -> Any:
    """Weight of an error that is measured in its window's scale.

    "scaled" counts it in units of the window, "relative" in units of the values, "between" is the geometric mean of
    the two, and "half" the mean of both, equal at a usual scale.
    """
    if weighting == "relative":
        return scale
    if weighting == "half":
        return 0.5 * (scale / _USUAL_SCALE + 1)
    return ops.sqrt(scale) if weighting == "between" else ops.ones_like(scale)
