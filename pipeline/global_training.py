"""Fit the global network: windows are pairs of series and end, gathered inside TensorFlow and never held.

A panel is one flat array. Each value stands relative to the level of its series, or as the logarithm of that;
gaps are filled by the value before and marked as not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from pipeline.design import Design
from pipeline.errors import ModelRefused
from pipeline.forecast import LEVELS
from pipeline.models.global_lstm import trunk
from pipeline.training import OnEpoch, refuse_unless_finite
from pipeline.units import Flat

#: steps over which the learning rate rises
WARM_UP = 30
#: steps that one call carries out, and after which progress is told
_AT_ONCE = 25
#: of the levels in the loss: the median as much as all others together, lest their gradients decide the clipping
_LEVEL_WEIGHTS = np.array([0.125, 0.125, 0.5, 0.125, 0.125], np.float32)
#: half of the relative, half of the scaled error meet at this scale
_USUAL_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Windows:
    """N windows of a flat panel: which series, and how many of its values lie before the forecast."""

    series: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]


def draw_windows(flat: Flat, design: Design, *, horizon: int, seed: int) -> Windows:
    """The windows of all steps, each with its whole target known by the end of the panel.

    Raises:
        ValueError: no series holds a window and its target.
    """
    rng = np.random.default_rng(seed)
    latest = flat.lengths - horizon
    earliest = np.full_like(latest, design.least_known)
    if design.kind == "frame":  # every position is judged: an end near the beginning would judge few
        earliest = np.minimum(latest, np.maximum(earliest, design.context))
    usable = np.flatnonzero(latest >= design.least_known)
    if len(usable) == 0:
        raise ValueError("no series is long enough")
    count = design.steps * design.batch_size
    choices = latest[usable] - earliest[usable] + 1
    chance = choices / choices.sum() if design.draw == "windows" else None
    which = rng.choice(len(usable), count, p=chance)
    ends = earliest[usable][which] + (rng.random(count) * choices[which]).astype(np.int64)
    return Windows(usable[which], np.minimum(ends, latest[usable][which]))


def fit_member(
    flat: Flat,
    design: Design,
    *,
    horizon: int,
    units: int,
    seed: int,
    start: Sequence[npt.NDArray[np.float64]] | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[keras.Model, tuple[float, ...]]:
    """Fit one member on every value of a panel; its trunk, and the loss by calls of 25 steps.

    Raises:
        ModelRefused: a loss or a weight is not finite.
        ValueError: no series holds a window and its target.
    """
    keras.utils.set_random_seed(seed)
    made = trunk(design, horizon=horizon, units=units, num_levels=len(LEVELS))
    if start is not None:
        _go_on_from(made, start)
    windows = draw_windows(flat, design, horizon=horizon, seed=seed)
    inputs = keras.Input((design.context + horizon, 2), name="window")
    fitted = keras.Model(inputs, Pinball(made, design, horizon)(inputs))
    warm_up = min(WARM_UP, design.steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, design.steps - warm_up, warmup_target=design.learning_rate, warmup_steps=warm_up
    )
    fitted.compile(
        optimizer=keras.optimizers.Adam(rate, global_clipnorm=1.0),
        loss=lambda _, loss: ops.mean(loss),
        steps_per_execution=_AT_ONCE,
        jit_compile=False,
    )
    dataset = gathered(flat, windows, width=design.context + horizon, ahead=horizon, batch_size=design.batch_size)
    losses = tuple(_losses(fitted, dataset, design.steps, on_epoch))
    refuse_unless_finite(made, losses)
    return made, losses


def _go_on_from(network: keras.Model, start: Sequence[npt.NDArray[np.float64]]) -> None:
    shapes = [weight.shape for weight in network.get_weights()]
    if [weight.shape for weight in start] != shapes:
        raise ModelRefused(
            "the series have become so much longer that the global network reads other inputs than the model that was "
            'to be fine-tuned: train it anew, as training.policy = "retrain" does'
        )
    network.set_weights(list(start))


def _losses(network: keras.Model, dataset: Any, num_steps: int, on_epoch: OnEpoch | None) -> Iterable[float]:
    count = -(-num_steps // _AT_ONCE)
    history = network.fit(
        dataset.repeat(),
        epochs=count,
        steps_per_epoch=_AT_ONCE,
        shuffle=False,  # the windows are drawn at random
        verbose=0,
        callbacks=[_Told(count, on_epoch)],
    )
    return (float(loss) for loss in history.history["loss"])


class _Told(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    def __init__(self, count: int, on_epoch: OnEpoch | None) -> None:
        super().__init__()
        self._count, self._on_epoch = count, on_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._on_epoch:
            self._on_epoch(epoch + 1, self._count, float((logs or {}).get("loss", np.nan)))


def gathered(flat: Flat, windows: Windows, *, width: int, ahead: int, batch_size: int) -> Any:
    """Batches of windows [B, width, 2] that go on for `ahead` values after their end."""
    values, known = tf.constant(flat.values), tf.constant(flat.known)
    offsets = tf.constant(flat.offsets[:-1])

    def gather(series: Any, end: Any) -> tuple[Any, Any]:
        first = tf.gather(offsets, series)[:, None]
        place = first + end[:, None] + tf.range(ahead - width, ahead, dtype=tf.int64)[None]
        there = tf.maximum(place, first)
        is_known = tf.gather(known, there) * tf.cast(place >= first, tf.float32)
        return tf.stack([tf.gather(values, there), is_known], axis=-1), tf.zeros_like(series, tf.float32)

    pairs = tf.data.Dataset.from_tensor_slices((windows.series, windows.end))
    return pairs.batch(batch_size).map(gather).prefetch(2)


class Pinball(keras.layers.Layer):  # type: ignore[misc]
    """The pinball loss [B] of windows [B, L + H, 2] over the levels, at every position of the trunk that counts."""

    def __init__(self, network: keras.Model, design: Design, horizon: int) -> None:
        super().__init__()
        self.network, self.design, self.horizon = network, design, horizon

    def call(self, windows: Any) -> Any:
        """Twice the pinball loss, so that of the median alone it is the absolute error."""
        length = self.design.context
        scaled, base, scale, weight = self.network(windows[:, :length])
        first = length - scaled.shape[1] + 1
        ahead = [windows[:, first + h : length + 1 + h] for h in range(self.horizon)]  # H of [B, T, 2]
        target, known = (ops.stack([step[:, :, n] for step in ahead], axis=-1) for n in (0, 1))
        error = ((target - base) / scale)[..., None] - scaled
        levels = ops.convert_to_tensor(np.array(LEVELS, np.float32))
        weights = ops.convert_to_tensor(_LEVEL_WEIGHTS)
        pinball = 2 * ops.sum(weights * ops.maximum(levels * error, (levels - 1) * error), axis=-1)  # [B, T, H]
        counted = known * weight[..., None]
        loss = pinball * self._factor(scale) * counted
        # the mean over what counts in the batch, as a number for each window of it
        return ops.sum(loss) / ops.maximum(ops.sum(counted), 1) * ops.ones_like(windows[:, 0, 0])

    def _factor(self, scale: Any) -> Any:
        if self.design.weighting == "relative":
            return scale
        if self.design.weighting == "between" and self.design.kind == "frame":
            return 0.5 * (scale / _USUAL_SCALE + 1)
        return ops.sqrt(scale) if self.design.weighting == "between" else ops.ones_like(scale)
