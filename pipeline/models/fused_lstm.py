"""The LSTM of a network as one operation for its whole sequence, forward and back, while it is fitted on processors.

Keras computes an LSTM step by step in a loop of small operations. TensorFlow has the layer as one kernel, `BlockLSTMV2`,
and its gradient as another, `BlockLSTMGradV2`; the gradient that TensorFlow registers for the first calls the kernel of
version 1, so it is given here. Gates are in Keras's order: weights are shared, not copied. cuDNN does the same on a GPU,
and Keras uses it.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@tf.custom_gradient
def run_block_lstm(sequence: Any, h: Any, c: Any, weights: Any, bias: Any) -> Any:
    """The LSTM equations (see `gated_cell`) over a sequence.

    Args:
        sequence: [T, B, F].
        h: output before the first step, [B, U].
        c: cell state before the first step, [B, U].
        weights: of what is read and of the output before it, [F + U, 4U].
        bias: [4U].

    Returns:
        outputs and cell states [T, B, U].
    """
    no_peephole = tf.zeros_like(bias[: bias.shape[0] // 4])
    given = {
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
    made = tf.raw_ops.BlockLSTMV2(**given, cell_clip=0.0)

    def gradient(d_outputs: Any, d_states: Any) -> tuple[Any, ...]:
        back = tf.raw_ops.BlockLSTMGradV2(**given, **made._asdict(), cs_grad=d_states, h_grad=d_outputs)
        return back.x_grad, back.h_prev_grad, back.cs_prev_grad, back.w_grad, back.b_grad

    return (made.h, made.cs), gradient


class FusedLSTM(keras.layers.Layer):
    """What a `keras.layers.LSTM` computes, with its weights."""

    def __init__(self, layer: keras.layers.LSTM) -> None:
        super().__init__(name=layer.name)
        self.layer, self.supports_masking = layer, True

    def call(self, sequence: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        """The last output [B, U], or all of them [B, T, U], and both states after them if the layer gives those."""
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
        made = tf.transpose(outputs, (1, 0, 2)) if layer.return_sequences else outputs[-1]
        return (made, outputs[-1], states[-1]) if layer.return_state else made

    def compute_mask(self, sequence: Any, mask: Any) -> Any:
        """As the layer does."""
        return self.layer.compute_mask(sequence, mask)


def fuse_lstm_layers(network: keras.Model) -> keras.Model:
    """The same network on the same weights, its LSTM layers fused where the kernel computes what they do."""
    if tf.config.list_physical_devices("GPU"):
        return network
    faster: keras.Model = keras.models.clone_model(network, clone_function=_fused, recursive=True)
    return faster


def _fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    return FusedLSTM(layer) if isinstance(layer, keras.layers.LSTM) and _is_covered(layer) else layer


def _is_covered(layer: keras.layers.LSTM) -> bool:
    usual = layer.activation is keras.activations.tanh and layer.recurrent_activation is keras.activations.sigmoid
    return usual and layer.use_bias and not (layer.dropout or layer.recurrent_dropout or layer.stateful)
