"""One LSTM layer over the context; its last output to a dense layer, one unit a step."""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def vanilla(sizes: NetworkSpec) -> keras.Model:
    """LSTM(units), dropout, Dense(numbers)."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    state = keras.layers.LSTM(sizes.units, activation=sizes.activation, recurrent_dropout=sizes.recurrent_dropout)(
        context
    )  # [B, units]
    if sizes.dropout:
        state = keras.layers.Dropout(sizes.dropout)(state)
    target = keras.layers.Dense(sizes.numbers, name="target")(state)  # [B, numbers]
    return keras.Model(context, target)
