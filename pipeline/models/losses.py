"""Losses of a trunk's forecasts from every position of its windows: squared, absolute, Huber's, or pinball over the levels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline.timeseries.forecast import LEVELS

#: the median counts as much as all others together, lest their gradients decide the clipping
LEVEL_WEIGHTS = (0.125, 0.125, 0.5, 0.125, 0.125)
#: errors above this many scales count by their magnitude in Huber's loss (1964, Annals of Mathematical Statistics 35)
_HUBER = 1.0
#: half of the relative, half of the scaled error meet at this scale
_USUAL_SCALE = 0.1


def pointwise_loss(loss: str, error: Any) -> Any:
    """The loss [...] of errors [..., K] in the network's units.

    The pinball loss is doubled, so that of the median alone it is the absolute error.
    """
    if loss == "pinball":
        levels, weights = (ops.convert_to_tensor(np.array(told, np.float32)) for told in (LEVELS, LEVEL_WEIGHTS))
        return 2 * ops.sum(weights * ops.maximum(levels * error, (levels - 1) * error), axis=-1)
    error, size = error[..., 0], ops.abs(error[..., 0])
    if loss == "mse":
        return error**2
    if loss == "huber":
        return ops.where(size < _HUBER, 0.5 * error**2, _HUBER * (size - 0.5 * _HUBER))
    return size


def error_weight(weighting: str, scale: Any) -> Any:
    """What an error in the window's own units counts: the unit of the series, the window's, or between the two."""
    if weighting == "relative":
        return scale
    if weighting == "half":
        return 0.5 * (scale / _USUAL_SCALE + 1)
    return ops.sqrt(scale) if weighting == "between" else ops.ones_like(scale)


def sum_losses(
    trunk: keras.Model, inputs: dict[str, Any], counts: Any, *, loss: str, weighting: str, training: bool
) -> tuple[Any, Any]:
    """The sum of a trunk's losses over windows, positions and steps, and how much was summed.

    While a network is fitted all positions count, when it is judged the origin does.

    Args:
        trunk: what it reads is among the inputs.
        inputs: and `later` [B, H, 2]: the values after the context, and where they are known.
        counts: how much each window counts, [B].
        loss: of a forecast, see `pointwise`.
        weighting: what an error counts, see `factor`.
        training: whether the network is fitted.
    """
    later = inputs["later"]
    parts = trunk({name: inputs[name] for name in trunk.input}, training=training)
    scaled, base, scale, weight = parts if training else (part[:, -1:] for part in parts)
    length, horizon = inputs["context"].shape[1], later.shape[1]
    values = ops.concatenate([inputs["context"][:, :, :2], later], axis=1)
    first = length - scaled.shape[1] + 1
    ahead = [values[:, first + h : length + 1 + h] for h in range(horizon)]  # H of [B, T, 2]
    target, known = (ops.stack([step[:, :, n] for step in ahead], axis=-1) for n in (0, 1))
    error = ((target - base) / scale)[..., None] - scaled
    counted = known * weight[..., None] * counts[:, None, None]
    return ops.sum(pointwise_loss(loss, error) * error_weight(weighting, scale) * counted), ops.sum(counted)
