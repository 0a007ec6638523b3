"""An LSTM over the context, and attention over its outputs: which steps the forecast rests on.

    e_t = v · tanh(W h_t + b)
    a   = softmax(e)
    s   = Σ a_t h_t

Additive attention, Bahdanau, Cho and Bengio (2015), with the context alone as what is attended to.
The weights a are the output of the layer `attention`.
"""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def attention(sizes: NetworkSpec) -> keras.Model:
    """LSTM(units) as a sequence, weighted over its steps, with the last output beside it; Dense(numbers)."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    sequence = keras.layers.LSTM(
        sizes.units,
        activation=sizes.activation,
        recurrent_dropout=sizes.recurrent_dropout,
        return_sequences=True,
    )(context)  # [B, L, units]
    energy = keras.layers.Dense(1, use_bias=False)(keras.layers.Dense(sizes.units, activation="tanh")(sequence))
    weights = keras.layers.Softmax(axis=1, name="attention")(energy)  # [B, L, 1]
    attended = keras.layers.Dot(axes=1)([weights, sequence])  # [B, 1, units]
    last = keras.layers.Cropping1D((sizes.context - 1, 0))(sequence)  # [B, 1, units]
    state = keras.layers.Flatten()(keras.layers.Concatenate()([attended, last]))
    if sizes.dropout:
        state = keras.layers.Dropout(sizes.dropout)(state)
    target = keras.layers.Dense(sizes.numbers, name="target")(state)  # [B, numbers]
    return keras.Model(context, target)
