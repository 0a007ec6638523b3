"""Fit by gradients: one call into a graph is an epoch, and in each of its steps parts of the batch run side by side.

Windows are told by their numbers. A loss of theirs is the ratio of two sums, so that the parts of a batch add up to the
whole of it.
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
#: from numbers of windows [B] and how much each counts [B] to the sum of their losses and what it is a sum of
SumLosses = Callable[[Any, Any], tuple[Any, Any]]

#: smaller parts cost more than they gain, and each is traced of its own
_LEAST_PART, _MOST_PARTS = 16, 4
#: windows that are judged at once
_JUDGED_AT_ONCE = 1024


def configure_threads() -> None:
    """Let this process run parts side by side, each on threads of its own; before TensorFlow has run anything."""
    parts = min(_num_processors(), _MOST_PARTS)
    tf.config.threading.set_inter_op_parallelism_threads(parts)
    tf.config.threading.set_intra_op_parallelism_threads(_num_processors() // parts)


def compile_epoch(
    variables: Sequence[keras.Variable],
    losses: SumLosses,
    optimizer: keras.optimizers.Optimizer,
    *,
    batch_size: int,
) -> Callable[[Indices], float]:
    """A function that fits variables to windows, in the order in which they are told, and gives their mean loss."""
    optimizer.build(variables)
    num_parts = _num_parts(batch_size)
    values = [variable.value for variable in variables]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def gradients(numbers: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            total, count = losses(*_told(numbers))
        return [total, count, *tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)]

    def step(numbers: Any) -> Any:
        parts = [gradients(numbers[part::num_parts]) for part in range(num_parts)]
        total, count, *slopes = [tf.add_n(each) for each in zip(*parts, strict=True)]
        optimizer.apply([slope / tf.maximum(count, 1.0) for slope in slopes], variables)
        return tf.stack([total, count])

    return _over_batches(step, batch_size)


def compile_mean_loss(losses: SumLosses) -> Callable[[Indices], float]:
    """A function from windows to their mean loss."""
    num_parts = _num_parts(_JUDGED_AT_ONCE)

    def sums_of(numbers: Any) -> Any:
        return tf.add_n([tf.stack(losses(*_told(numbers[part::num_parts]))) for part in range(num_parts)])

    return _over_batches(sums_of, _JUDGED_AT_ONCE)


def _over_batches(sums_of: Callable[[Any], Any], batch_size: int) -> Callable[[Indices], float]:
    """The ratio of two sums over batches of one shape; the last one is filled with windows that do not count."""

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def in_graph(batches: Any) -> Any:
        return tf.foldl(lambda sums, numbers: sums + sums_of(numbers), batches, tf.zeros(2), parallel_iterations=1)

    def over(numbers: Indices) -> float:
        filled = np.append(numbers, np.full(-len(numbers) % batch_size, -1))
        total, count = in_graph(tf.constant(filled.reshape(-1, batch_size))).numpy()
        return float(total / max(count, 1.0))

    return over


def _told(numbers: Any) -> tuple[Any, Any]:
    return tf.maximum(numbers, 0), tf.cast(numbers >= 0, tf.float32)


def _num_parts(batch_size: int) -> int:
    if tf.config.list_physical_devices("GPU"):
        return 1
    return max(1, min(_num_processors(), _MOST_PARTS, batch_size // _LEAST_PART))


def _num_processors() -> int:
    return len(os.sched_getaffinity(0))
