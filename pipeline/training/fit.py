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
from pipeline.training.epoch_loop import Indices, SumLosses, compile_epoch, compile_mean_loss
from pipeline.training.window_batches import FlatPanel, build_window_lookup

Array = npt.NDArray[np.float64]

#: steps over which a schedule reaches its learning rate
_WARM_UP = 30

#: called with epochs done, epochs at most and the loss of the last
OnEpoch = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitting:
    """How to fit one network."""

    epochs: int
    batch_size: int
    learning_rate: float
    loss: str
    seed: int
    #: what an error counts: see `pipeline.models.losses`
    weighting: str = "scaled"
    #: steps of an epoch over windows that were drawn for all of them; none: an epoch is each window once
    steps_per_epoch: int | None = None
    optimizer: str = "adam"
    schedule: str = "constant"
    clip_norm: float | None = None
    clip_value: float | None = None
    #: epochs without gain on the held-out windows before stopping
    patience: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FittedNetwork:
    """A fitted trunk and its loss by epoch."""

    trunk: keras.Model
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the lowest validation loss; without validation the last one."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else len(self.loss)


def fit_network(
    trunk: keras.Model,
    flat: FlatPanel,
    windows: Windows,
    fitting: Fitting,
    *,
    held_out: tuple[FlatPanel, Windows] | None = None,
    start: Sequence[Array] | None = None,
    on_epoch: OnEpoch | None = None,
) -> FittedNetwork:
    """Fit one network; the same arguments give the same weights on the same machine.

    Args:
        trunk: untrained, built under the seed.
        flat: the panel up to the cutoff.
        windows: of it, whose targets are inside; in random order where `fitting.steps_per_epoch` is given.
        fitting: how.
        held_out: windows to stop by: after `fitting.patience` epochs without gain.
        start: weights to start from, as `weights_of` gave them; none: those of the trunk.
        on_epoch: told of each epoch.

    Raises:
        ModelRefused: a loss or a weight is not finite, or the weights to start from are of another network.
    """
    if start is not None:
        _go_on_from(trunk, start)
    steps = fitting.steps_per_epoch or -(-len(windows) // fitting.batch_size)
    order, optimizer = _order(len(windows), fitting), _optimizer(fitting, num_steps=steps * fitting.epochs)
    faster = fuse_lstm_layers(trunk)
    fit_epoch = compile_epoch(
        trunk.trainable_variables,
        _losses(faster, flat, windows, fitting, training=True),
        optimizer,
        batch_size=fitting.batch_size,
    )
    judge = None
    if held_out is not None:
        judge = _Judge(trunk, compile_mean_loss(_losses(faster, *held_out, fitting, training=False)), len(held_out[1]))
    losses: list[float] = []
    for epoch in range(fitting.epochs):
        losses.append(fit_epoch(order(epoch)))
        if on_epoch:
            on_epoch(epoch + 1, fitting.epochs, losses[-1])
        if not np.isfinite(losses[-1]) or (judge and judge.waits() >= (fitting.patience or fitting.epochs)):
            break
    require_finite(trunk, losses)
    if judge:
        trunk.set_weights(judge.best)
    return FittedNetwork(trunk=trunk, loss=tuple(losses), validation_loss=tuple(judge.losses) if judge else ())


class _Judge:
    """Remembers the weights that forecast held-out windows best."""

    def __init__(self, trunk: keras.Model, loss_of: Callable[[Indices], float], num_windows: int) -> None:
        self.trunk, self.loss_of, self.windows = trunk, loss_of, np.arange(num_windows)
        self.losses: list[float] = []
        self.best: list[Array] = trunk.get_weights()

    def waits(self) -> int:
        """Judge the weights as they are; for how many epochs they have not become better."""
        self.losses.append(self.loss_of(self.windows))
        waited = len(self.losses) - 1 - int(np.argmin(self.losses))
        if waited == 0:
            self.best = self.trunk.get_weights()
        return waited


def _order(num_windows: int, fitting: Fitting) -> Callable[[int], Indices]:
    """The windows of an epoch: all in random order, or the next of those that were drawn."""
    if fitting.steps_per_epoch is None:
        rng = np.random.default_rng(fitting.seed)
        return lambda _: rng.permutation(num_windows)
    some = np.arange(fitting.steps_per_epoch * fitting.batch_size)
    return lambda epoch: (epoch * len(some) + some) % num_windows


def _losses(trunk: keras.Model, flat: FlatPanel, windows: Windows, fitting: Fitting, *, training: bool) -> SumLosses:
    gather = build_window_lookup(flat, context=trunk.input["context"].shape[1], horizon=trunk.output[0].shape[2])
    series, end = tf.constant(windows.series), tf.constant(windows.end)

    def losses(numbers: Any, counts: Any) -> tuple[Any, Any]:
        inputs = gather(tf.gather(series, numbers), tf.gather(end, numbers))
        return sum_losses(trunk, inputs, counts, loss=fitting.loss, weighting=fitting.weighting, training=training)

    return losses


def _go_on_from(trunk: keras.Model, start: Sequence[Array]) -> None:
    if [weight.shape for weight in start] != [weight.shape for weight in trunk.get_weights()]:
        raise ModelRefused(
            "the model that was to be fine-tuned reads other inputs than the recipe and its series ask for now: train "
            'it anew, as training.policy = "retrain" does'
        )
    trunk.set_weights(list(start))


def _optimizer(fitting: Fitting, *, num_steps: int) -> keras.optimizers.Optimizer:
    rate: Any = fitting.learning_rate
    if fitting.schedule == "cosine":
        warm_up = min(_WARM_UP, num_steps // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warm_up else rate, num_steps - warm_up, warmup_target=rate if warm_up else None, warmup_steps=warm_up
        )
    config = {
        "learning_rate": rate,
        "clipnorm": None,
        "clipvalue": fitting.clip_value,
        "global_clipnorm": fitting.clip_norm,
    }
    return keras.optimizers.get({"class_name": fitting.optimizer, "config": config})


def require_finite(network: keras.Model, losses: Sequence[float]) -> None:
    """Refuse a network whose training ran away.

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
