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
class Quantiles(keras.layers.Layer):
    """A median [..., H] and distances [..., H x (K - 1)] as K quantiles [..., H, K] that cannot cross.

    The median does not learn from the other quantiles.
    """

    def __init__(self, *, horizon: int, num_levels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.horizon, self.num_levels = horizon, num_levels

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        return {**super().get_config(), "horizon": self.horizon, "num_levels": self.num_levels}

    def call(self, median: Any, distances: Any) -> Any:
        """Softplus makes the distances positive."""
        shape = (*ops.shape(median)[:-1], self.horizon, self.num_levels - 1)
        distances = ops.softplus(ops.reshape(distances, shape))
        middle = self.num_levels // 2
        centre = ops.stop_gradient(median)[..., None]
        below = ops.flip(ops.cumsum(ops.flip(distances[..., :middle], axis=-1), axis=-1), axis=-1)
        above = ops.cumsum(distances[..., middle:], axis=-1)
        return ops.concatenate([centre - below, median[..., None], centre + above], axis=-1)


def trunk(design: Design, *, horizon: int, units: int, num_levels: int) -> keras.Model:
    """From a context [B, L, 2], values and where they are known, to the parts that a forecast is made of.

    Returns:
        a model that gives the scaled quantiles [B, T, H, Q], base [B, T, H], scale [B, T, 1] and weight [B, T].
    """
    context = keras.Input((design.context, 2), name="context")
    layer = Steps(
        horizon=horizon,
        kind=design.kind,
        size=design.size,
        base=design.base,
        profile=design.profile,
        skip=design.skip,
    )
    steps, skip, base, scale, weight = layer(context)
    output = keras.layers.LSTM(units, return_sequences=design.kind == "frame")(steps)
    if design.kind == "fold":
        output = keras.layers.Reshape((1, units))(output)
    if design.skip:
        output = keras.layers.Concatenate()([output, skip])
    small = keras.initializers.VarianceScaling(_SMALL, "fan_avg", "uniform")
    median = keras.layers.Dense(horizon, kernel_initializer=small, name="target")(output)
    distances = keras.layers.Dense(horizon * (num_levels - 1), kernel_initializer=small, name="distances")(
        Detached()(output)
    )
    scaled = Quantiles(horizon=horizon, num_levels=num_levels)(median, distances)
    return keras.Model(context, [scaled, base, scale, weight])


@keras.saving.register_keras_serializable(package="nextperiod")
class AtOrigin(keras.layers.Layer):
    """The quantiles [B, H, Q] at the last position, in the units of the context."""

    def call(self, scaled: Any, base: Any, scale: Any) -> Any:
        """Of what a trunk gives."""
        return base[:, -1, :, None] + scale[:, -1, :, None] * scaled[:, -1]


def forecasting(trunk: keras.Model) -> keras.Model:
    """A network from a context [B, L, 2] to quantiles [B, H, Q], from its trunk."""
    scaled, base, scale, _ = trunk.output
    return keras.Model(trunk.input, AtOrigin(name="at_origin")(scaled, base, scale))


@keras.saving.register_keras_serializable(package="nextperiod")
class Newest(keras.layers.Layer):
    """The newest `length` steps of a context."""

    def __init__(self, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def get_config(self) -> dict[str, Any]:
        """What rebuilds the layer."""
        return {**super().get_config(), "length": self.length}

    def call(self, context: Any) -> Any:
        """Of [B, L, F]."""
        return context[:, -self.length :]


def mean_of(networks: list[keras.Model]) -> keras.Model:
    """One network whose quantiles are the mean of the members', each of which reads its own length of the context."""
    longest = max(network.input_shape[1] for network in networks)
    context = keras.Input((longest, 2), name="context")
    outputs = [network(Newest(network.input_shape[1])(context)) for network in networks]
    return keras.Model(context, keras.layers.Average(name="mean")(outputs) if len(outputs) > 1 else outputs[0])
