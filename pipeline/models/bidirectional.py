"""Two LSTM layers over the context, one forward and one backward, side by side.

Schuster and Paliwal (1997), IEEE Transactions on Signal Processing 45(11). The backward layer reads
the context only: nothing after the origin.
"""

from __future__ import annotations

import keras

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec


def bidirectional(spec: NetworkSpec) -> keras.Model:
    """Build LSTM(units) in both directions, dropout, Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    forward, backward = (
        keras.layers.LSTM(
            spec.units,
            activation=spec.activation,
            recurrent_dropout=spec.recurrent_dropout,
            go_backwards=is_backward,
            name=name,
        )
        for name, is_backward in (("forward", False), ("backward", True))
    )
    state = keras.layers.Concatenate()([forward(context), backward(context)])  # [B, 2 units]
    return build_head(context, state, spec)
