"""Fit variables by gradients: an epoch is one call into a TensorFlow graph, whose steps compute parts of a batch in parallel.

Windows are addressed by their indices. The mean loss of windows is the ratio of two sums, so the sums over the parts of a
batch add up to those of the whole batch.
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
#: from indices of windows [B] and their weights [B] to the sum of their losses and the sum of what was counted
SumLosses = Callable[[Any, Any], tuple[Any, Any]]

#: smaller parts cost more than they gain; each part is a graph of its own
_LEAST_PART, _MOST_PARTS = 16, 4
#: windows of a batch when losses are computed without gradients
_EVALUATION_BATCH = 1024


def configure_threads() -> None:
    """Let TensorFlow compute parts of a batch in parallel; call this before it has run anything in this process."""
    parts = min(_num_processors(), _MOST_PARTS)
    tf.config.threading.set_inter_op_parallelism_threads(parts)
    tf.config.threading.set_intra_op_parallelism_threads(_num_processors() // parts)


def compile_epoch(
    variables: Sequence[keras.Variable],
    sum_losses: SumLosses,
    optimizer: keras.optimizers.Optimizer,
    *,
    batch_size: int,
) -> Callable[[Indices], float]:
    """Compile a function that fits `variables` to windows [N], batch by batch in the given order.

    It returns their mean loss, each batch before its own step.
    """
    optimizer.build(variables)
    num_parts = _num_parts(batch_size)
    values = [variable.value for variable in variables]

    def compute_gradients(indices: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total, count = sum_losses(*_mask_padding(indices))
        return [total, count, *tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)]

    lengths = [len(range(part, batch_size, num_parts)) for part in range(num_parts)]
    graphs = {length: _trace(compute_gradients, [length]) for length in sorted(set(lengths))}

    def step(indices: Any) -> Any:
        parts = [graphs[length](indices[part::num_parts]) for part, length in enumerate(lengths)]
        total, count, *gradients = [tf.add_n(tensors) for tensors in zip(*parts, strict=True)]
        optimizer.apply([gradient / tf.maximum(count, 1.0) for gradient in gradients], variables)
        return tf.stack([total, count])

    return _fold_batches(step, batch_size)


def compile_mean_loss(sum_losses: SumLosses) -> Callable[[Indices], float]:
    """Compile a function from windows [N] to their mean loss."""
    num_parts = _num_parts(_EVALUATION_BATCH)

    def sum_batch(indices: Any) -> Any:
        parts = [tf.stack(sum_losses(*_mask_padding(indices[part::num_parts]))) for part in range(num_parts)]
        return tf.add_n(parts)

    return _fold_batches(sum_batch, _EVALUATION_BATCH)


def _fold_batches(sum_batch: Callable[[Any], Any], batch_size: int) -> Callable[[Indices], float]:
    """Compile the ratio of two sums over batches of one shape; the last batch is padded with the index -1."""

    def fold(batches: Any) -> Any:
        return tf.foldl(lambda sums, indices: sums + sum_batch(indices), batches, tf.zeros(2), parallel_iterations=1)

    graph = _trace(fold, [None, batch_size])

    def mean(indices: Indices) -> float:
        padded = np.append(indices, np.full(-len(indices) % batch_size, -1))
        total, count = graph(tf.constant(padded.reshape(-1, batch_size))).numpy()
        return float(total / max(count, 1.0))

    return mean


def _trace(function: Callable[[Any], Any], shape: list[int | None]) -> Any:
    """Trace a function of indices into a graph, once.

    TensorFlow warns of retracing when many `tf.function`s of the same code are called, as one process does that fits
    many networks. A concrete function is traced here and never again.
    """
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.int64))


def _mask_padding(indices: Any) -> tuple[Any, Any]:
    """Indices that can be looked up, and the weight of each: 0 for padding, otherwise 1."""
    return tf.maximum(indices, 0), tf.cast(indices >= 0, tf.float32)


def _num_parts(batch_size: int) -> int:
    if tf.config.list_physical_devices("GPU"):
        return 1
    return max(1, min(_num_processors(), _MOST_PARTS, batch_size // _LEAST_PART))


def _num_processors() -> int:
    return len(os.sched_getaffinity(0))
