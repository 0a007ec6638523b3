"""An LSTM reads the context and hands its state to another one, which writes the horizon step by step.

Sutskever, Vinyals and Le (2014), with the decoder unrolled over the horizon. Each step is given the
first number that the step before gave out, when fitting as when forecasting: there is no teacher forcing, so that the
network is fitted for what it will do.
"""

from __future__ import annotations

import keras

from pipeline.models.specs import NetworkSpec


def encoder_decoder(sizes: NetworkSpec) -> keras.Model:
    """LSTM(units) over the context; LSTM(units) over the horizon from its state; Dense at each step."""
    context = keras.Input((sizes.context, sizes.features), name="context")
    encoder = keras.layers.LSTM(
        sizes.units, activation=sizes.activation, recurrent_dropout=sizes.recurrent_dropout, return_state=True
    )
    _, *states = encoder(context)
    decoder = keras.layers.LSTMCell(sizes.units, activation=sizes.activation, name="decoder")
    dropout = keras.layers.Dropout(sizes.dropout)
    to_numbers = keras.layers.Dense(sizes.levels + sizes.hints, name="target")
    value = keras.layers.Flatten()(context[:, -1:, :1])  # [B, 1], the last value
    steps = []
    for _ in range(sizes.horizon):
        output, states = decoder(value, states)
        numbers = to_numbers(dropout(output))  # [B, K + hints]
        value = numbers[:, :1]
        steps.append(numbers)
    target = keras.layers.Concatenate()(steps) if len(steps) > 1 else steps[0]  # [B, numbers]
    return keras.Model(context, target)
