"""The sizes that an architecture is built from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Input [B, context, features], output [B, horizon]."""

    context: int
    features: int
    horizon: int
    units: int
    layers: int = 1
    activation: str = "tanh"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
