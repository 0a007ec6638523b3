"""An LSTM over the context, and attention over its outputs: the weights show which steps a forecast rests on.

    e_t = v · tanh(W h_t + b)
    a   = softmax(e)
    s   = Σ a_t h_t

Additive attention, Bahdanau, Cho and Bengio (2015), over the context alone.
The weights a are the output of the layer `attention`.
"""

from __future__ import annotations

import keras

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec


def attention(spec: NetworkSpec) -> keras.Model:
    """Build LSTM(units) as a sequence, weighted over its steps, with the last output beside it; Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    sequence = keras.layers.LSTM(
        spec.units,
        activation=spec.activation,
        recurrent_dropout=spec.recurrent_dropout,
        return_sequences=True,
    )(context)  # [B, L, units]
    energy = keras.layers.Dense(1, use_bias=False)(keras.layers.Dense(spec.units, activation="tanh")(sequence))
    weights = keras.layers.Softmax(axis=1, name="attention")(energy)  # [B, L, 1]
    attended = keras.layers.Dot(axes=1)([weights, sequence])  # [B, 1, units]
    last = keras.layers.Cropping1D((spec.context - 1, 0))(sequence)  # [B, 1, units]
    state = keras.layers.Flatten()(keras.layers.Concatenate()([attended, last]))  # [B, 2 units]
    return build_head(context, state, spec)
