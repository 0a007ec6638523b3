"""A convolution finds short patterns in the context, an LSTM reads their sequence."""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec

#: steps that a pattern is long
_WIDTH = 3


def cnn_lstm(sizes: NetworkSpec) -> keras.Model:
    """Conv1D(units) that looks back three steps, LSTM(units), dropout, Dense(numbers)."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    patterns = keras.layers.Conv1D(sizes.units, _WIDTH, padding="causal", activation="relu")(context)  # [B, L, units]
    state = keras.layers.LSTM(sizes.units, activation=sizes.activation, recurrent_dropout=sizes.recurrent_dropout)(
        patterns
    )  # [B, units]
    if sizes.dropout:
        state = keras.layers.Dropout(sizes.dropout)(state)
    target = keras.layers.Dense(sizes.numbers, name="target")(state)  # [B, numbers]
    return keras.Model(context, target)
