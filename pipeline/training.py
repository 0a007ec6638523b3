"""Fit a network to the windows of a panel, which are looked up in the graph and never held; export it.

A panel is laid out flat: one array a channel, with offsets by series. Windows are pairs of series and end. Each batch
of pairs is gathered, filled, masked and joined with its features inside `tf.data`.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from pipeline.canonical_onnx import canonical
from pipeline.errors import ModelRefused
from pipeline.features import FeatureArrays
from pipeline.models.losses import Loss
from pipeline.panel import Panel
from pipeline.scaling import Scaling
from pipeline.windows import Windows

Array = npt.NDArray[np.float64]

#: steps over which a schedule reaches its learning rate
_WARM_UP = 30
#: steps of the optimizer that one call carries out at most
_AT_ONCE = 32

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
class Flat:
    """A panel as networks read it while they are fitted."""

    panel: Panel
    #: gaps filled; in the numbers of the network where series have parameters, otherwise in their own units
    values: Array  # [sum of lengths]
    known: npt.NDArray[np.bool_]
    features: FeatureArrays
    scaling: Scaling


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A fitted trunk and its loss by epoch."""

    trunk: keras.Model
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the lowest validation loss; without validation the last one."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else len(self.loss)


def flattened(panel: Panel, scaling: Scaling, features: FeatureArrays) -> Flat:
    """A whole panel, ready to be read by windows; what has no logarithm counts as not known where logarithms are read."""
    values = scaling.readable(panel).values
    known = ~np.isnan(values)
    if not known.all():
        start = np.repeat(panel.offsets[:-1], panel.lengths)
        last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
        values = np.where(last >= start, values[last], 1.0)
    if scaling.per_series:
        centre, scale = (np.repeat(one, panel.lengths) for one in scaling.of_series(panel))
        values = scaling.numbers(values, centre, scale)
    return Flat(panel=panel, values=values, known=known, features=features, scaling=scaling)


def gathered(flat: Flat, *, context: int, horizon: int) -> Callable[[Any, Any], dict[str, Any]]:
    """A function from series and ends [B] to what a network reads there, and `later` [B, H, 2]: what it is asked for."""
    panel, told = flat.panel, flat.features
    values, known = tf.constant(flat.values), tf.constant(flat.known)
    offsets, starts = tf.constant(panel.offsets[:-1]), tf.constant(panel.first)
    past, future, calendar, static = map(tf.constant, (told.past, told.future, told.calendar, told.static))
    pad = panel.ahead if told.future.shape[1] else 0
    steps = tf.range(1 - context, horizon + 1, dtype=tf.int64)[None]

    def gather(series: Any, end: Any) -> dict[str, Any]:
        first = tf.gather(offsets, series)[:, None]
        offset = (end - tf.gather(starts, series))[:, None] + steps
        place = first + tf.maximum(offset, 0)
        is_known = tf.cast(tf.gather(known, place) & (offset >= 0), tf.float32)
        told_values = tf.stack([_numbers(flat.scaling, tf.gather(values, place), is_known, context), is_known], axis=-1)
        ahead = tf.concat(
            [
                tf.gather(future, place + (series * pad)[:, None]),
                tf.gather(calendar, tf.maximum(end[:, None] + steps, 0)),
            ],
            axis=-1,
        )
        channels = [told_values[:, :context], tf.gather(past, place[:, :context]), ahead[:, :context]]
        found = {"context": tf.concat(channels, axis=-1), "later": told_values[:, context:]}
        if ahead.shape[-1]:
            found["ahead"] = ahead[:, context:]
        if static.shape[-1]:
            found["static"] = tf.gather(static, series)
        return found

    return gather


def _numbers(scaling: Scaling, values: Any, known: Any, context: int) -> Any:
    """What a network reads of windows and what follows them [B, L + H]: as `Scaling.numbers`, sized by their contexts."""
    if scaling.per_series:
        return tf.cast(values, tf.float32)
    known = tf.cast(known[:, :context], tf.float64)
    kept = values[:, :context] * known
    count = tf.maximum(tf.reduce_sum(known, axis=1, keepdims=True), 1)
    scale = tf.reduce_sum(tf.abs(kept), axis=1, keepdims=True) / count
    scale = tf.where(scale > 0, scale, tf.ones_like(scale))
    centre = tf.reduce_sum(kept, axis=1, keepdims=True) / count * float(scaling.is_centred)
    numbers = tf.math.log(values / scale) if scaling.logarithms else (values - centre) / scale
    return tf.cast(numbers, tf.float32)


def fit_network(
    trunk: keras.Model,
    flat: Flat,
    windows: Windows,
    fitting: Fitting,
    *,
    held_out: tuple[Flat, Windows] | None = None,
    start: Sequence[Array] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
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
    fitted = _with_loss(trunk, fitting)
    fitted.compile(
        optimizer=_optimizer(fitting, num_steps=steps * fitting.epochs),
        loss=lambda _, loss: ops.mean(loss),
        steps_per_execution=min(steps, _AT_ONCE),
        jit_compile=False,
    )
    callbacks: list[Any] = [_Reporter(fitting.epochs, on_epoch)] if on_epoch else []
    if held_out is not None:
        patience = fitting.patience or fitting.epochs
        callbacks.append(keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True))
    history = fitted.fit(
        _batches(trunk, flat, windows, fitting, for_fitting=True),
        validation_data=_batches(trunk, *held_out, fitting, for_fitting=False) if held_out else None,
        epochs=fitting.epochs,
        steps_per_epoch=fitting.steps_per_epoch,
        shuffle=False,  # the pairs are
        callbacks=callbacks,
        verbose=0,
    ).history
    losses = tuple(float(loss) for loss in history["loss"])
    refuse_unless_finite(trunk, losses)
    return Fitted(trunk=trunk, loss=losses, validation_loss=tuple(float(loss) for loss in history.get("val_loss", ())))


def _with_loss(trunk: keras.Model, fitting: Fitting) -> keras.Model:
    horizon = trunk.output[0].shape[2]
    inputs = {name: keras.Input(tensor.shape[1:], name=name) for name, tensor in trunk.input.items()}
    inputs["later"] = keras.Input((horizon, 2), name="later")
    return keras.Model(inputs, Loss(trunk, loss=fitting.loss, weighting=fitting.weighting)(inputs))


def _batches(trunk: keras.Model, flat: Flat, windows: Windows, fitting: Fitting, *, for_fitting: bool) -> Any:
    context, horizon = trunk.input["context"].shape[1], trunk.output[0].shape[2]
    gather = gathered(flat, context=context, horizon=horizon)
    pairs = tf.data.Dataset.from_tensor_slices((windows.series, windows.end))
    if for_fitting:
        once = fitting.steps_per_epoch is None
        pairs = pairs.shuffle(len(windows), seed=fitting.seed) if once else pairs.repeat()
    batches = pairs.batch(fitting.batch_size)
    return batches.map(lambda series, end: (gather(series, end), tf.zeros_like(series, tf.float32))).prefetch(2)


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


def predict(network: keras.Model, inputs: Array | dict[str, Array]) -> Array:
    """A network's outputs, of one input [N, ...] or of several by name."""
    single = tf.nest.map_structure(lambda one: np.asarray(one, np.float32), inputs)
    return np.asarray(network.predict(single, batch_size=1024, verbose=0), dtype=np.float64)


def attention_of(trunk: keras.Model, inputs: dict[str, Array]) -> Array | None:
    """What a network gives to each step of its windows [N, L]; None if it has no attention."""
    network = next((layer for layer in trunk.layers if layer.name == "attention"), None)
    if network is None:
        return None
    weigh = keras.Model(network.input, network.get_layer("attention").output)
    weights = predict(keras.Model(trunk.input, weigh(trunk.get_layer("steps").output)), inputs)
    return weights.reshape(weights.shape[:2])


def weights_of(networks: Sequence[keras.Model]) -> bytes:
    """All members' weights as an npz file, named by member and position."""
    arrays = {
        f"{member}.{position:03d}": weight
        for member, network in enumerate(networks)
        for position, weight in enumerate(network.get_weights())
    }
    return npz(arrays)


def member_weights(weights: bytes) -> list[list[Array]]:
    """What `weights_of` wrote, one list a member."""
    members: dict[int, list[Array]] = {}
    with np.load(io.BytesIO(weights), allow_pickle=False) as arrays:
        for name in sorted(arrays.files):
            members.setdefault(int(name.split(".")[0]), []).append(arrays[name])
    return [members[member] for member in sorted(members)]


def npz(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    """Arrays as an npz file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def export(network: keras.Model, example: Array | dict[str, Array]) -> tuple[bytes, bytes]:
    """The network as ONNX and as a Keras archive. `example` is what it is first called with."""
    import onnx

    predict(network, example)
    with tempfile.TemporaryDirectory() as folder:
        onnx_path, keras_path = Path(folder) / "network.onnx", Path(folder) / "network.keras"
        network.export(str(onnx_path), format="onnx", verbose=False)
        network.save(keras_path)
        graph = onnx.load(str(onnx_path))
        for value in [*graph.graph.input, *graph.graph.output]:
            value.type.tensor_type.shape.dim[0].dim_param = "windows"
        return canonical(graph).SerializeToString(deterministic=True), keras_path.read_bytes()


class _Reporter(keras.callbacks.Callback):
    def __init__(self, epochs: int, on_epoch: OnEpoch) -> None:
        super().__init__()
        self._epochs, self._on_epoch = epochs, on_epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._on_epoch(epoch + 1, self._epochs, float((logs or {}).get("loss", np.nan)))


def refuse_unless_finite(network: keras.Model, losses: Sequence[float]) -> None:
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
