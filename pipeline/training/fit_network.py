"""Fit one network to windows of a panel: its loss, its optimizer, when to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.errors import ModelRefused
from pipeline.models.fused_lstm import fuse_lstm_layers
from pipeline.models.losses import sum_losses
from pipeline.preprocessing.windows import Windows
from pipeline.training.gradient_steps import Indices, SumLosses, compile_epoch, compile_mean_loss
from pipeline.training.progress import OnEpoch
from pipeline.training.window_batches import FlatPanel, build_window_lookup

Array = npt.NDArray[np.float64]

#: most gradient steps over which a schedule reaches its learning rate
_WARM_UP = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class FitSettings:
    """How one network is fitted."""

    #: most passes over the windows, or groups of `steps_per_epoch` gradient steps; 0: the weights stay as they are
    epochs: int
    #: windows of a gradient step
    batch_size: int
    learning_rate: float
    #: see `pipeline.models.losses.pointwise_loss`
    loss: str
    seed: int
    #: see `pipeline.models.losses.error_weight`
    weighting: str = "scaled"
    #: gradient steps of an epoch over windows that were drawn for the whole fit; None: an epoch is each window once
    steps_per_epoch: int | None = None
    optimizer: str = "adam"
    schedule: str = "constant"
    clip_norm: float | None = None
    clip_value: float | None = None
    #: epochs without gain on the held-out windows before stopping; None: never stop early
    patience: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedNetwork:
    """A fitted trunk and its mean loss by epoch."""

    trunk: keras.Model
    loss: tuple[float, ...]
    #: of the held-out windows; empty without such windows
    validation_loss: tuple[float, ...]

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the lowest validation loss; without validation the last one."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else len(self.loss)


def fit_network(
    trunk: keras.Model,
    flat: FlatPanel,
    windows: Windows,
    settings: FitSettings,
    *,
    held_out: tuple[FlatPanel, Windows] | None = None,
    start: Sequence[Array] | None = None,
    on_epoch: OnEpoch | None = None,
) -> FittedNetwork:
    """Fit one network; the same arguments give the same weights on the same machine.

    Args:
        trunk: untrained, built under the seed.
        flat: the panel up to the cutoff.
        windows: of it, with all of their targets inside; in random order where `settings.steps_per_epoch` is given.
        settings: how to fit.
        held_out: a panel and windows of it for early stopping: the weights of the best epoch are kept.
        start: weights to start from, in the order of `keras.Model.get_weights`; None: those of the trunk.
        on_epoch: called after each epoch.

    Raises:
        ModelRefused: a loss or a weight is not finite, or the weights to start from are of another network.
    """
    if start is not None:
        _set_start_weights(trunk, start)
    if settings.epochs == 0:
        return FittedNetwork(trunk=trunk, loss=(), validation_loss=())
    fused = fuse_lstm_layers(trunk)
    fit_epoch = compile_epoch(
        trunk.trainable_variables,
        _build_loss(fused, flat, windows, settings, training=True),
        _build_optimizer(settings, num_windows=len(windows)),
        batch_size=settings.batch_size,
    )
    best = None
    if held_out is not None:
        mean_loss = compile_mean_loss(_build_loss(fused, *held_out, settings, training=False))
        best = _BestWeights(trunk, mean_loss, num_windows=len(held_out[1]))
    order = _order_windows(len(windows), settings)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        losses.append(fit_epoch(order(epoch)))
        if on_epoch:
            on_epoch(epoch + 1, settings.epochs, losses[-1])
        if not np.isfinite(losses[-1]):
            break
        if best and best.update() >= (settings.patience or settings.epochs):
            break
    require_finite(trunk, losses)
    if best:
        trunk.set_weights(best.weights)
    return FittedNetwork(trunk=trunk, loss=tuple(losses), validation_loss=tuple(best.losses) if best else ())


class _BestWeights:
    """Keeps the weights with the lowest mean loss of held-out windows."""

    def __init__(self, trunk: keras.Model, mean_loss: Callable[[Indices], float], num_windows: int) -> None:
        self.trunk, self.mean_loss, self.windows = trunk, mean_loss, np.arange(num_windows)
        self.losses: list[float] = []
        self.weights: list[Array] = trunk.get_weights()

    def update(self) -> int:
        """Evaluate the current weights; return the number of epochs since the best one."""
        self.losses.append(self.mean_loss(self.windows))
        epochs_since_best = len(self.losses) - 1 - int(np.argmin(self.losses))
        if epochs_since_best == 0:
            self.weights = self.trunk.get_weights()
        return epochs_since_best


def _order_windows(num_windows: int, settings: FitSettings) -> Callable[[int], Indices]:
    """Return a function from an epoch to its windows: all in random order, or the next of those that were drawn."""
    if settings.steps_per_epoch is None:
        rng = np.random.default_rng(settings.seed)
        return lambda _: rng.permutation(num_windows)
    positions = np.arange(settings.steps_per_epoch * settings.batch_size)
    return lambda epoch: (epoch * len(positions) + positions) % num_windows


def _build_loss(
    trunk: keras.Model, flat: FlatPanel, windows: Windows, settings: FitSettings, *, training: bool
) -> SumLosses:
    look_up = build_window_lookup(flat, context=trunk.input["context"].shape[1], horizon=trunk.output[0].shape[2])
    series, end = tf.constant(windows.series), tf.constant(windows.end)

    def sum_window_losses(indices: Any, counts: Any) -> tuple[Any, Any]:
        inputs = look_up(tf.gather(series, indices), tf.gather(end, indices))
        return sum_losses(trunk, inputs, counts, loss=settings.loss, weighting=settings.weighting, training=training)

    return sum_window_losses


def _set_start_weights(trunk: keras.Model, start: Sequence[Array]) -> None:
    if [weight.shape for weight in start] != [weight.shape for weight in trunk.get_weights()]:
        raise ModelRefused(
            "the model to fine-tune reads other inputs than the recipe and its series have now: retrain it from "
            'scratch, as training.policy = "retrain" does'
        )
    trunk.set_weights(list(start))


def _build_optimizer(settings: FitSettings, *, num_windows: int) -> keras.optimizers.Optimizer:
    rate: Any = settings.learning_rate
    if settings.schedule == "cosine":
        steps_per_epoch = settings.steps_per_epoch or -(-num_windows // settings.batch_size)
        num_steps = steps_per_epoch * settings.epochs
        warm_up = min(_WARM_UP, num_steps // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warm_up else rate, num_steps - warm_up, warmup_target=rate if warm_up else None, warmup_steps=warm_up
        )
    config = {
        "learning_rate": rate,
        "clipnorm": None,
        "clipvalue": settings.clip_value,
        "global_clipnorm": settings.clip_norm,
    }
    return keras.optimizers.get({"class_name": settings.optimizer, "config": config})


def require_finite(network: keras.Model, losses: Sequence[float]) -> None:
    """Refuse a network whose training diverged.

    Raises:
        ModelRefused: a loss or a weight is not finite.
    """
    if not np.isfinite(losses).all():
        epoch = int(np.flatnonzero(~np.isfinite(losses))[0]) + 1
        raise ModelRefused(
            f"the loss of epoch {epoch} is not finite: lower training.learning_rate or set training.clip_norm"
        )
    if not all(np.isfinite(weight).all() for weight in network.get_weights()):
        raise ModelRefused("a weight is not finite: lower training.learning_rate or set training.clip_norm")
