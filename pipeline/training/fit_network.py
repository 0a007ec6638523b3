"""Fit one network to windows of a panel: its loss, its optimizer, when to stop."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.errors import ModelRefused
from pipeline.models.fused_lstm import fuse_lstm_layers
from pipeline.models.losses import sum_losses
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import Windows
from pipeline.training.gradient_steps import Indices, MeanLoss, compile_epoch, compile_mean_loss
from pipeline.training.progress import OnEpoch
from pipeline.training.window_batches import FlatPanel, PanelTensors, look_up_windows

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

    @property
    def of_graph(self) -> FitSettings:
        """The settings that a graph is traced with: fits that differ in others can share it."""
        return replace(self, epochs=0, learning_rate=0.0, seed=0, steps_per_epoch=None, patience=None)


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


def seed_weights(seed: int) -> None:
    """Seed what Keras draws initial weights, and the seeds of dropout, from.

    `keras.utils.set_random_seed` would seed TensorFlow too. Its operations draw nothing here, and a new seed makes it discard
    what it has compiled of each traced graph, which costs a third of a second per fit.
    """
    random.seed(seed)


class FitGraph:
    """What is traced to fit one trunk on any panel: its steps, its optimizer, its loss without gradients."""

    def __init__(self, trunk: keras.Model, settings: FitSettings, scaling: Scaling) -> None:
        """Prepare a graph, which is traced by its first fit.

        Args:
            trunk: untrained.
            settings: of which the epochs, the learning rate and the seed may differ from fit to fit.
            scaling: of which the parameters of series may differ from fit to fit.
        """
        self.trunk = trunk
        self._fused, self._settings, self._scaling = fuse_lstm_layers(trunk), settings, scaling
        self._schedule = _Schedule(settings.schedule)
        self._optimizer = _build_optimizer(settings, self._schedule)
        self._initial_state: list[Array] = []
        #: held by the fit that uses the graph
        self.lock = threading.Lock()
        self._epoch: MeanLoss | None = None
        self._mean_loss: MeanLoss | None = None

    def start(
        self, trunk: keras.Model, flat: FlatPanel, windows: Windows, settings: FitSettings
    ) -> Callable[[Indices], float]:
        """Take over the weights of an equal trunk; return a function that fits them to windows for one epoch."""
        self._take_over(trunk)
        data = _window_data(flat, windows)
        if self._epoch is None:
            self._epoch = compile_epoch(
                self.trunk.trainable_variables,
                partial(self._sum_losses, training=True),
                self._optimizer,
                batch_size=settings.batch_size,
                data=data,
            )
            self._initial_state = [variable.numpy() for variable in self._optimizer.variables]
        for variable, value in zip(self._optimizer.variables, self._initial_state, strict=True):
            variable.assign(value)
        self._schedule.begin(settings, num_windows=len(windows))
        epoch = self._epoch
        return lambda indices: epoch(indices, *data)

    def mean_loss(self, flat: FlatPanel, windows: Windows) -> Callable[[], float]:
        """Return a function that computes the mean loss of windows by the weights of the moment."""
        data, indices = _window_data(flat, windows), np.arange(len(windows))
        if self._mean_loss is None:
            self._mean_loss = compile_mean_loss(partial(self._sum_losses, training=False), data)
        mean_loss = self._mean_loss
        return lambda: mean_loss(indices, *data)

    def _take_over(self, trunk: keras.Model) -> None:
        if trunk is not self.trunk:
            for own, other in zip(self.trunk.variables, trunk.variables, strict=True):
                own.assign(other)

    def _sum_losses(self, indices: Any, counts: Any, data: _WindowData, *, training: bool) -> tuple[Any, Any]:
        trunk, settings = self._fused, self._settings
        inputs = look_up_windows(
            data.panel,
            tf.gather(data.series, indices),
            tf.gather(data.end, indices),
            scaling=self._scaling,
            context=trunk.input["context"].shape[1],
            horizon=trunk.output[0].shape[2],
        )
        return sum_losses(trunk, inputs, counts, loss=settings.loss, weighting=settings.weighting, training=training)


class _WindowData(NamedTuple):
    """Windows of a panel as an argument of a graph."""

    panel: PanelTensors
    series: Any  # [N]
    end: Any  # [N]


def _window_data(flat: FlatPanel, windows: Windows) -> tuple[_WindowData]:
    return (_WindowData(flat.tensors, tf.constant(windows.series), tf.constant(windows.end)),)


def fit_network(
    trunk: keras.Model,
    flat: FlatPanel,
    windows: Windows,
    settings: FitSettings,
    *,
    graph: FitGraph | None = None,
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
        graph: of an equal trunk, settings and scaling, to be used again; None: one of its own.
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
    graph = graph or FitGraph(trunk, settings, flat.scaling)
    with graph.lock:
        fit_epoch = graph.start(trunk, flat, windows, settings)
        best = _BestWeights(graph.trunk, graph.mean_loss(*held_out)) if held_out is not None else None
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
        require_finite(graph.trunk, losses)
        trunk.set_weights(best.weights if best else graph.trunk.get_weights())
    return FittedNetwork(trunk=trunk, loss=tuple(losses), validation_loss=tuple(best.losses) if best else ())


class _BestWeights:
    """Keeps the weights with the lowest mean loss of held-out windows."""

    def __init__(self, trunk: keras.Model, mean_loss: Callable[[], float]) -> None:
        self.trunk, self.mean_loss = trunk, mean_loss
        self.losses: list[float] = []
        self.weights: list[Array] = trunk.get_weights()

    def update(self) -> int:
        """Evaluate the current weights; return the number of epochs since the best one."""
        self.losses.append(self.mean_loss())
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


def _set_start_weights(trunk: keras.Model, start: Sequence[Array]) -> None:
    if [weight.shape for weight in start] != [weight.shape for weight in trunk.get_weights()]:
        raise ModelRefused(
            "the model to fine-tune reads other inputs than the recipe and its series have now: retrain it from "
            'scratch, as training.policy = "retrain" does'
        )
    trunk.set_weights(list(start))


class _Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate by gradient step, which a graph reads from variables."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._rate, self._num_steps, self._warm_up = (tf.Variable(number) for number in (0.0, 1.0, 0.0))
        self._cosine = None
        if kind == "cosine":
            self._cosine = keras.optimizers.schedules.CosineDecay(
                0.0, self._num_steps, warmup_target=self._rate, warmup_steps=self._warm_up
            )

    def __call__(self, step: Any) -> Any:
        return self._cosine(step) if self._cosine else tf.identity(self._rate)

    def begin(self, settings: FitSettings, *, num_windows: int) -> None:
        """Begin another fit."""
        steps_per_epoch = settings.steps_per_epoch or -(-num_windows // settings.batch_size)
        num_steps = steps_per_epoch * settings.epochs
        warm_up = min(_WARM_UP, num_steps // 10)
        self._rate.assign(settings.learning_rate)
        self._warm_up.assign(warm_up)
        self._num_steps.assign(num_steps - warm_up)


def _build_optimizer(settings: FitSettings, schedule: _Schedule) -> keras.optimizers.Optimizer:
    config = {
        "learning_rate": schedule,
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
