"""Two LSTM layers over the context, one forward and one backward, side by side.

Schuster and Paliwal (1997), IEEE Transactions on Signal Processing 45(11). The backward layer reads
the context only: nothing after the origin.
"""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def bidirectional(sizes: NetworkSpec) -> keras.Model:
    """LSTM(units) in both directions, dropout, Dense(numbers)."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    forward, backward = (
        keras.layers.LSTM(
            sizes.units,
            activation=sizes.activation,
            recurrent_dropout=sizes.recurrent_dropout,
            go_backwards=is_backward,
            name=name,
        )
        for name, is_backward in (("forward", False), ("backward", True))
    )
    state = keras.layers.Concatenate()([forward(context), backward(context)])  # [B, 2 units]
    if sizes.dropout:
        state = keras.layers.Dropout(sizes.dropout)(state)
    target = keras.layers.Dense(sizes.numbers, name="target")(state)  # [B, numbers]
    return keras.Model(context, target)
