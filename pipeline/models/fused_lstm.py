"""Compute the LSTM layers of a network as one operation for the whole sequence, while it is fitted on a CPU.

Keras computes an LSTM step by step, in a loop of small operations. TensorFlow has the whole layer as one kernel,
`BlockLSTMV2`, and its gradient as another, `BlockLSTMGradV2`. The gradient that TensorFlow registers for the first calls
the kernel of version 1, so this module defines it. Gates are in Keras's order: weights are shared, not copied. On a GPU
Keras uses cuDNN, which does the same.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@tf.custom_gradient
def run_block_lstm(sequence: Any, h: Any, c: Any, weights: Any, bias: Any) -> Any:
    """Compute the LSTM equations (see `gated_cell`) over a sequence, with their gradient.

    Args:
        sequence: [T, B, F].
        h: output before the first step, [B, U].
        c: cell state before the first step, [B, U].
        weights: kernel of the input above the recurrent kernel, [F + U, 4U].
        bias: [4U].

    Returns:
        outputs and cell states, both [T, B, U].
    """
    no_peephole = tf.zeros_like(bias[: bias.shape[0] // 4])
    arguments = {
        "seq_len_max": tf.cast(tf.shape(sequence)[0], tf.int64),
        "x": sequence,
        "cs_prev": c,
        "h_prev": h,
        "w": weights,
        "wci": no_peephole,
        "wcf": no_peephole,
        "wco": no_peephole,
        "b": bias,
        "use_peephole": False,
    }
    results = tf.raw_ops.BlockLSTMV2(**arguments, cell_clip=0.0)

    def gradient(d_outputs: Any, d_states: Any) -> tuple[Any, ...]:
        gradients = tf.raw_ops.BlockLSTMGradV2(**arguments, **results._asdict(), cs_grad=d_states, h_grad=d_outputs)
        return gradients.x_grad, gradients.h_prev_grad, gradients.cs_prev_grad, gradients.w_grad, gradients.b_grad

    return (results.h, results.cs), gradient


class FusedLSTM(keras.layers.Layer):
    """A layer that computes what a `keras.layers.LSTM` computes, with its weights."""

    def __init__(self, layer: keras.layers.LSTM) -> None:
        super().__init__(name=layer.name)
        self.layer, self.supports_masking = layer, True

    def call(self, sequence: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """Return the last output [B, U] or all of them [B, T, U], and the two last states if the layer returns them."""
        layer, cell = self.layer, self.layer.cell
        if mask is not None:
            return layer(sequence, initial_state=initial_state, mask=mask, training=training)
        steps = tf.transpose(sequence, (1, 0, 2))
        if layer.go_backwards:
            steps = steps[::-1]
        zero = tf.zeros((tf.shape(sequence)[0], layer.units))
        h, c = initial_state or (zero, zero)
        outputs, states = run_block_lstm(
            steps, h, c, tf.concat([cell.kernel, cell.recurrent_kernel], axis=0), cell.bias + 0
        )
        output = tf.transpose(outputs, (1, 0, 2)) if layer.return_sequences else outputs[-1]
        return (output, outputs[-1], states[-1]) if layer.return_state else output

    def compute_mask(self, sequence: Any, mask: Any) -> Any:
        """Return the mask that the layer returns."""
        return self.layer.compute_mask(sequence, mask)


def fuse_lstm_layers(network: keras.Model) -> keras.Model:
    """Return the same network with shared weights, its LSTM layers fused where the kernel computes the same.

    On a GPU the network itself is returned.
    """
    if tf.config.list_physical_devices("GPU"):
        return network
    fused: keras.Model = keras.models.clone_model(network, clone_function=_fuse_layer, recursive=True)
    return fused


def _fuse_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    return FusedLSTM(layer) if isinstance(layer, keras.layers.LSTM) and _can_be_fused(layer) else layer


def _can_be_fused(layer: keras.layers.LSTM) -> bool:
    has_usual_gates = (
        layer.activation is keras.activations.tanh and layer.recurrent_activation is keras.activations.sigmoid
    )
    return has_usual_gates and layer.use_bias and not (layer.dropout or layer.recurrent_dropout or layer.stateful)
