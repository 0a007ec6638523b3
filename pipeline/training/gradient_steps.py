"""Fit variables by gradients: an epoch is one call into a TensorFlow graph, whose steps compute parts of a batch in parallel.

Windows are addressed by their indices. The mean loss of windows is the ratio of two sums, so the sums over the parts of a
batch add up to those of the whole batch. Data are arguments of a graph, so that one graph fits on many panels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

Indices = npt.NDArray[np.int64]
#: from indices of windows [B], their weights [B] and data to the sum of their losses and the sum of what was counted
SumLosses = Callable[..., tuple[Any, Any]]
#: from indices of windows [N] and data to a mean loss
MeanLoss = Callable[..., float]

#: smaller parts cost more than they gain; each part is a graph of its own
_LEAST_PART, _MOST_PARTS = 16, 4
#: windows of a batch when losses are computed without gradients
_EVALUATION_BATCH = 1024


def configure_threads(num_processors: int | None = None) -> None:
    """Let TensorFlow compute parts of a batch in parallel; call this before it has run anything in this process.

    Args:
        num_processors: that are counted on: the last bits of fitted weights depend on it; None: those of this process.
    """
    num_processors = num_processors or _num_processors()
    parts = min(num_processors, _MOST_PARTS)
    tf.config.threading.set_inter_op_parallelism_threads(parts)
    tf.config.threading.set_intra_op_parallelism_threads(num_processors // parts)


def compile_epoch(
    variables: Sequence[keras.Variable],
    sum_losses: SumLosses,
    optimizer: keras.optimizers.Optimizer,
    *,
    batch_size: int,
    data: Sequence[Any] = (),
) -> MeanLoss:
    """Compile a function that fits `variables` to windows [N], batch by batch in the given order.

    It returns their mean loss, each batch before its own step.

    Args:
        variables: to fit.
        sum_losses: of a batch.
        optimizer: not yet built.
        batch_size: windows of a gradient step.
        data: structures of tensors as those that the compiled function is called with; only first axes may differ.
    """
    optimizer.build(variables)
    num_parts = _num_parts(batch_size)
    values = [variable.value for variable in variables]

    def compute_gradients(indices: Any, *data: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total, count = sum_losses(*_mask_padding(indices), *data)
        return [total, count, *tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)]

    lengths = [len(range(part, batch_size, num_parts)) for part in range(num_parts)]
    graphs = {length: _trace(compute_gradients, [length], data) for length in sorted(set(lengths))}

    def step(indices: Any, *data: Any) -> Any:
        parts = [graphs[length](indices[part::num_parts], *data) for part, length in enumerate(lengths)]
        total, count, *gradients = [tf.add_n(tensors) for tensors in zip(*parts, strict=True)]
        optimizer.apply([gradient / tf.maximum(count, 1.0) for gradient in gradients], variables)
        return tf.stack([total, count])

    return _fold_batches(step, batch_size, data)


def compile_mean_loss(sum_losses: SumLosses, data: Sequence[Any] = ()) -> MeanLoss:
    """Compile a function from windows [N] to their mean loss; `data` is as in `compile_epoch`."""
    num_parts = _num_parts(_EVALUATION_BATCH)

    def sum_batch(indices: Any, *data: Any) -> Any:
        parts = [tf.stack(sum_losses(*_mask_padding(indices[part::num_parts]), *data)) for part in range(num_parts)]
        return tf.add_n(parts)

    return _fold_batches(sum_batch, _EVALUATION_BATCH, data)


def _fold_batches(sum_batch: Callable[..., Any], batch_size: int, data: Sequence[Any]) -> MeanLoss:
    """Compile the ratio of two sums over batches of one shape; the last batch is padded with the index -1."""

    def fold(batches: Any, *data: Any) -> Any:
        return tf.foldl(
            lambda sums, indices: sums + sum_batch(indices, *data), batches, tf.zeros(2), parallel_iterations=1
        )

    graph = _trace(fold, [None, batch_size], data)

    def mean(indices: Indices, *data: Any) -> float:
        padded = np.append(indices, np.full(-len(indices) % batch_size, -1))
        total, count = graph(tf.constant(padded.reshape(-1, batch_size)), *data).numpy()
        return float(total / max(count, 1.0))

    return mean


def _trace(function: Callable[..., Any], shape: list[int | None], data: Sequence[Any]) -> Any:
    """Trace a function of indices and data into a graph, once.

    TensorFlow warns of retracing when many `tf.function`s of the same code are called, as one process does that fits
    many networks. A concrete function is traced here and never again.
    """
    specs = tf.nest.map_structure(_any_length, list(data))
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.int64), *specs)


def _any_length(tensor: Any) -> Any:
    """The shape of a tensor, or of another one with a first axis of another length."""
    return tf.TensorSpec([None, *tensor.shape[1:]] if len(tensor.shape) else [], tensor.dtype)


def _mask_padding(indices: Any) -> tuple[Any, Any]:
    """Indices that can be looked up, and the weight of each: 0 for padding, otherwise 1."""
    return tf.maximum(indices, 0), tf.cast(indices >= 0, tf.float32)


def num_parallel_fits(batch_size: int) -> int:
    """How many fits may run at once, where a batch is too small for as many parts as there may be."""
    return 1 if tf.config.list_physical_devices("GPU") else _most_parts() // _num_parts(batch_size)


def _num_parts(batch_size: int) -> int:
    if tf.config.list_physical_devices("GPU"):
        return 1
    return max(1, min(_most_parts(), batch_size // _LEAST_PART))


def _most_parts() -> int:
    return tf.config.threading.get_inter_op_parallelism_threads() or min(_num_processors(), _MOST_PARTS)


def _num_processors() -> int:
    return len(os.sched_getaffinity(0))
