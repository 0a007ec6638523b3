"""Several LSTM layers, each reading the whole sequence of the one below."""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def stacked(sizes: NetworkSpec) -> keras.Model:
    """`layers` times LSTM(units) with dropout behind each, Dense(numbers)."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    sequence = context
    for layer in range(sizes.layers):
        below_another = layer < sizes.layers - 1
        sequence = keras.layers.LSTM(
            sizes.units,
            activation=sizes.activation,
            recurrent_dropout=sizes.recurrent_dropout,
            return_sequences=below_another,
        )(sequence)
        if sizes.dropout:
            sequence = keras.layers.Dropout(sizes.dropout)(sequence)
    target = keras.layers.Dense(sizes.numbers, name="target")(sequence)  # [B, numbers]
    return keras.Model(context, target)
