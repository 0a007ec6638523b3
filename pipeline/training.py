"""Fit a network to windows: seeds, early stopping, warm start, export. The only user of Keras besides the models."""

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

from pipeline.architectures import build_network
from pipeline.canonical_onnx import canonical
from pipeline.errors import ModelRefused
from pipeline.models.sizes import Sizes

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
    optimizer: str = "adam"
    schedule: str = "constant"
    clip_norm: float | None = None
    clip_value: float | None = None
    patience: int | None = None
    shuffle: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """Scaled windows: what a network sees and is asked for."""

    inputs: Array  # [N, L, F]
    targets: Array  # [N, H]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fitted:
    """A fitted network and its loss by epoch."""

    network: keras.Model
    loss: tuple[float, ...]
    validation_loss: tuple[float, ...]

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, with the lowest validation loss; without validation the last one."""
        return int(np.argmin(self.validation_loss)) + 1 if self.validation_loss else len(self.loss)


def fit_network(
    architecture: str,
    sizes: Sizes,
    fitting: Fitting,
    examples: Example,
    *,
    held_out: Example | None = None,
    start: Sequence[Array] | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fitted:
    """Fit one network; the same arguments give the same weights on the same machine.

    Args:
        architecture: a name in `ARCHITECTURES`.
        sizes: of the network.
        fitting: how.
        examples: windows to fit on.
        held_out: windows to stop by: after `fitting.patience` epochs without gain.
        start: weights to start from, as `weights_of` gave them; none: fresh ones from the seed.
        on_epoch: told of each epoch.

    Raises:
        ModelRefused: a loss or a weight is not finite.
    """
    keras.utils.set_random_seed(fitting.seed)
    network = build_network(architecture, sizes)
    if start is not None:
        network.set_weights(list(start))
    steps = -(-len(examples.inputs) // fitting.batch_size)
    network.compile(
        optimizer=_optimizer(fitting, num_steps=steps * fitting.epochs),
        loss=fitting.loss,
        steps_per_execution=min(steps, 32),
        jit_compile=False,
    )
    callbacks: list[Any] = [_Reporter(fitting.epochs, on_epoch)] if on_epoch else []
    validation = None
    if held_out is not None:
        validation = (held_out.inputs.astype(np.float32), held_out.targets.astype(np.float32))
        callbacks.append(keras.callbacks.EarlyStopping(patience=fitting.patience or fitting.epochs))
    history = network.fit(
        examples.inputs.astype(np.float32),
        examples.targets.astype(np.float32),
        validation_data=validation,
        epochs=fitting.epochs,
        batch_size=fitting.batch_size,
        shuffle=fitting.shuffle,
        callbacks=callbacks,
        verbose=0,
    ).history
    losses = tuple(float(loss) for loss in history["loss"])
    refuse_unless_finite(network, losses)
    return Fitted(
        network=network, loss=losses, validation_loss=tuple(float(loss) for loss in history.get("val_loss", ()))
    )


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


def predict(network: keras.Model, inputs: Array) -> Array:
    """The network's outputs [N, H]."""
    return np.asarray(network.predict(inputs.astype(np.float32), batch_size=1024, verbose=0), dtype=np.float64)


def attention_of(network: keras.Model, inputs: Array) -> Array | None:
    """What a network gives to each step of its windows [N, L]; None if it has no attention."""
    layer = next((layer for layer in network.layers if layer.name == "attention"), None)
    if layer is None:
        return None
    weights = predict(keras.Model(network.input, layer.output), inputs)
    return weights.reshape(weights.shape[:2])


def average(networks: Sequence[keras.Model]) -> keras.Model:
    """One network whose output is the mean of several; a single one is returned as it is."""
    if len(networks) == 1:
        return networks[0]
    context = keras.Input(networks[0].input_shape[1:], name="context")
    return keras.Model(context, keras.layers.Average(name="mean")([network(context) for network in networks]))


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


def export(network: keras.Model, example: Array) -> tuple[bytes, bytes]:
    """The network as ONNX and as a Keras archive. `example` [N, L, F] is what it is first called with."""
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
