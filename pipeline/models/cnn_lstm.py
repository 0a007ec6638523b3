"""A convolution finds short patterns in the context, an LSTM reads their sequence."""

from __future__ import annotations

import keras

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec

#: length of a pattern in periods
_WIDTH = 3


def cnn_lstm(spec: NetworkSpec) -> keras.Model:
    """Build Conv1D(units) that looks back three periods, LSTM(units), dropout, Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    convolution = keras.layers.Conv1D(spec.units, _WIDTH, padding="causal", activation="relu")
    patterns = convolution(context)  # [B, L, units]
    lstm = keras.layers.LSTM(spec.units, activation=spec.activation, recurrent_dropout=spec.recurrent_dropout)
    return build_head(context, lstm(patterns), spec)
