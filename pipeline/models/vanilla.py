"""One LSTM layer over the context; a dense layer reads its last output."""

from __future__ import annotations

import keras

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec


def vanilla(spec: NetworkSpec) -> keras.Model:
    """Build LSTM(units), dropout, Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    lstm = keras.layers.LSTM(spec.units, activation=spec.activation, recurrent_dropout=spec.recurrent_dropout)
    return build_head(context, lstm(context), spec)
