"""An LSTM reads the context and passes its state to a second LSTM, which forecasts the horizon step by step.

Sutskever, Vinyals and Le (2014), with the decoder unrolled over the horizon. Each step reads the first output of the
step before, in training as in forecasting. There is no teacher forcing, so the network is fitted for the way in which
it is used.
"""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def encoder_decoder(spec: NetworkSpec) -> keras.Model:
    """Build LSTM(units) over the context; LSTM(units) over the horizon from its state; Dense at each step."""
    context = keras.Input((spec.context, spec.features), name="context")
    encoder = keras.layers.LSTM(
        spec.units, activation=spec.activation, recurrent_dropout=spec.recurrent_dropout, return_state=True
    )
    _, *states = encoder(context)
    decoder = keras.layers.LSTMCell(spec.units, activation=spec.activation, name="decoder")
    dropout = keras.layers.Dropout(spec.dropout)
    dense = keras.layers.Dense(spec.levels + spec.latent, name="target")
    value = keras.layers.Flatten()(context[:, -1:, :1])  # [B, 1], the last value
    steps = []
    for _ in range(spec.horizon):
        state, states = decoder(value, states)
        outputs = dense(dropout(state))  # [B, K + latent]
        value = outputs[:, :1]
        steps.append(outputs)
    target = keras.layers.Concatenate()(steps) if len(steps) > 1 else steps[0]  # [B, num_outputs]
    return keras.Model(context, target)
