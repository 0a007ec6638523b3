"""Several LSTM layers, each reading the whole sequence of the layer below."""

from __future__ import annotations

import keras

from pipeline.models.heads import build_head
from pipeline.models.specs import NetworkSpec


def stacked(spec: NetworkSpec) -> keras.Model:
    """Build `layers` times LSTM(units) with dropout behind each, Dense(num_outputs)."""
    context = keras.Input((spec.context, spec.features), name="context")
    sequence = context
    for _ in range(spec.layers - 1):
        sequence = _lstm(spec, return_sequences=True)(sequence)  # [B, L, units]
        if spec.dropout:
            sequence = keras.layers.Dropout(spec.dropout)(sequence)
    return build_head(context, _lstm(spec, return_sequences=False)(sequence), spec)


def _lstm(spec: NetworkSpec, *, return_sequences: bool) -> keras.layers.LSTM:
    return keras.layers.LSTM(
        spec.units,
        activation=spec.activation,
        recurrent_dropout=spec.recurrent_dropout,
        return_sequences=return_sequences,
    )
