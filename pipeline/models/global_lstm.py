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
from keras import ops

from pipeline.design import Design
from pipeline.models.heads import hints_for, inputs_of, scaled_steps
from pipeline.models.sizes import Reads

#: the least scale: values are logarithms, or relative to the level of their series
_LEAST = 1e-3
#: the output layer begins near zero: at first the forecast is the base
_SMALL = 0.09


@keras.saving.register_keras_serializable(package="nextperiod")
class Steps(keras.layers.Layer):
    """A window's values [B, L], filled where nothing is known, and where they are known [B, L], as scaled steps.

    Returns:
        steps [B, T, F], skip [B, T, K], base [B, T, H], scale [B, T, 1] and weight [B, T]: of T positions of
        which forecasts are made, the last of them at the origin.
    """

    def __init__(
        self, *, horizon: int, kind: str, size: int, base: int, profile: int, skip: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.horizon, self.kind, self.size, self.skip = horizon, kind, size, skip
        self.base, self.profile = base, profile

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        own = ("horizon", "kind", "size", "base", "profile", "skip")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}

    def call(self, context: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Of values and where they are known, [B, L, 2]."""
        values, known = context[:, :, 0], context[:, :, 1]
        return self._frames(values, known) if self.kind == "frame" else self._folds(values, known)

    def _frames(self, x: Any, known: Any) -> tuple[Any, Any, Any, Any, Any]:
        p, length = self.size, x.shape[1]
        count = length - p + 1
        frames = ops.stack([x[:, j : j + count] for j in range(p)], axis=-1)  # [B, T, p]
        level = frames[:, :, -1:]
        scale = 2 * ops.mean(ops.abs(frames[:, :, 1:] - frames[:, :, :-1]), axis=-1, keepdims=True) + _LEAST
        steps = ops.concatenate([(frames - level) / scale, 0.5 * ops.log(scale)], axis=-1)
        base = self._base_of(frames, p)
        num_known = ops.cumsum(known, axis=1)[:, p - 1 :]  # [B, T]
        weight = ops.cast(num_known >= 2, x.dtype) * known[:, p - 1 :]
        return steps, steps[:, :, :0], base, scale, weight

    def _folds(self, x: Any, known: Any) -> tuple[Any, Any, Any, Any, Any]:
        f, length = self.size, x.shape[1]
        count = length // f
        within, ahead = self._profile_of(x, known)
        x = x - within
        level = _mean(x, known) if self.base > 1 else x[:, -1:]
        moves = ops.abs(x[:, 1:] - x[:, :-1]) * known[:, :-1]
        num_moves = ops.sum(known[:, :-1], axis=1, keepdims=True)
        scale = 2 * ops.sum(moves, axis=1, keepdims=True) / ops.maximum(num_moves, 1) + _LEAST
        z = (x - level) / scale * known
        steps = ops.reshape(z[:, length - count * f :], (-1, count, f))
        mask = ops.reshape(known[:, length - count * f :], (-1, count, f))[:, :, :1]
        size = ops.ones_like(mask) * (0.3 * ops.log(scale))[:, :, None]
        base = (self._base_of(x, length) + ahead)[:, None, :]
        skip = z[:, None, length - self.skip :] if self.skip else z[:, None, :0]
        return ops.concatenate([steps, mask, size], axis=-1), skip, base, scale[:, :, None], known[:, -1:]

    def _profile_of(self, x: Any, known: Any) -> tuple[Any, Any]:
        """Mean at each place of the longer season less the mean of all, in the window [B, L] and ahead [B, H]."""
        p, length = self.profile, x.shape[1]
        if not p:
            return ops.zeros_like(x[:, :1]), ops.zeros_like(x[:, :1])
        count = length // p
        values, there = (ops.reshape(v[:, length - count * p :], (-1, count, p)) for v in (x * known, known))
        num_there = ops.sum(there, axis=1)  # [B, p]
        profile = ops.sum(values, axis=1) / ops.maximum(num_there, 1)
        is_whole = ops.cast(ops.min(num_there, axis=1, keepdims=True) > 0, x.dtype)
        profile = (profile - ops.mean(profile, axis=1, keepdims=True)) * is_whole
        within = ops.tile(profile, (1, count + 1))[:, (count + 1) * p - length :]
        ahead = ops.take(profile, ops.convert_to_tensor([h % p for h in range(self.horizon)], "int32"), axis=-1)
        return within, ahead

    def _base_of(self, x: Any, length: int) -> Any:
        """The last `base` values, repeated over the horizon."""
        last = [length - self.base + h % self.base for h in range(self.horizon)]
        return ops.take(x, ops.convert_to_tensor(last, "int32"), axis=-1)


def _mean(x: Any, known: Any) -> Any:
    return ops.sum(x * known, axis=1, keepdims=True) / ops.maximum(ops.sum(known, axis=1, keepdims=True), 1)


@keras.saving.register_keras_serializable(package="nextperiod")
class Detached(keras.layers.Layer):
    """The same numbers, which do not learn from what is made of them."""

    def call(self, numbers: Any) -> Any:
        """Of any shape."""
        return ops.stop_gradient(numbers)


@keras.saving.register_keras_serializable(package="nextperiod")
class Features(keras.layers.Layer):
    """Features of a context [B, L, F] for each of its T steps: of the last period of a frame, of all in a fold."""

    def __init__(self, *, kind: str, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.size = kind, size

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        return {**super().get_config(), "kind": self.kind, "size": self.size}

    def call(self, features: Any) -> Any:
        """[B, T, F] or [B, T, size x F]."""
        _, length, count = features.shape
        if self.kind == "frame":
            return features[:, self.size - 1 :]
        steps = length // self.size
        return ops.reshape(features[:, length - steps * self.size :], (-1, steps, self.size * count))


@keras.saving.register_keras_serializable(package="nextperiod")
class Ahead(keras.layers.Layer):
    """What is known over the horizon of each of T positions [B, T, H, F], from the context [B, L, F] and beyond it [B, H, F]."""

    def __init__(self, positions: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = positions

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        return {**super().get_config(), "positions": self.positions}

    def call(self, context: Any, ahead: Any) -> Any:
        """The position t of the context has the H periods after it."""
        length, horizon = context.shape[1], ahead.shape[1]
        both = ops.concatenate([context, ahead], axis=1)
        first = length - self.positions + 1
        return ops.stack([both[:, first + h : length + 1 + h] for h in range(horizon)], axis=2)


def trunk(design: Design, *, reads: Reads, units: int, levels: int) -> keras.Model:
    """The trunk of one member; its context [B, L, 2 + F] is values, where they are known, and features."""
    horizon = reads.horizon
    inputs = inputs_of(reads, design.context)
    context = inputs["context"]
    layer = Steps(
        horizon=horizon,
        kind=design.kind,
        size=design.size,
        base=design.base,
        profile=design.profile,
        skip=design.skip,
    )
    steps, skip, base, scale, weight = layer(context[:, :, :2])
    parts = [steps]
    if reads.channels > 2:
        parts.append(Features(kind=design.kind, size=design.size)(context[:, :, 2:]))
    if reads.static:
        parts.append(keras.layers.RepeatVector(steps.shape[1])(inputs["static"]))
    read = keras.layers.Concatenate()(parts) if len(parts) > 1 else steps
    output = keras.layers.LSTM(units, return_sequences=design.kind == "frame")(read)
    if design.kind == "fold":
        output = keras.layers.Reshape((1, units))(output)
    if design.skip:
        output = keras.layers.Concatenate()([output, skip])
    ahead = (
        Ahead(output.shape[1], name="ahead_of_each")(context[:, :, -reads.ahead :], inputs["ahead"])
        if reads.ahead
        else None
    )
    middle = _per_step(output, horizon, 1 + hints_for(reads), "middle")
    distances = _per_step(Detached()(output), horizon, levels - 1, "distances") if levels > 1 else middle[..., :0]
    scaled = scaled_steps(middle, distances, ahead)
    return keras.Model(inputs, [scaled, base, scale, weight])


def _per_step(output: Any, horizon: int, count: int, name: str) -> Any:
    """So many numbers for each step of the horizon from what is known at each position: [B, T, H, count]."""
    small = keras.initializers.VarianceScaling(_SMALL, "fan_avg", "uniform")
    numbers = keras.layers.Dense(horizon * count, kernel_initializer=small, name=name)(output)
    return keras.layers.Reshape((output.shape[1], horizon, count))(numbers)
