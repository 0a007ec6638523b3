"""Shapes that networks are built from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """Sizes of one network: input [B, context, features], output [B, num_outputs]."""

    context: int
    features: int
    horizon: int
    units: int
    #: quantile levels (K) that are forecast for each step of the horizon; 1: one number a step
    levels: int = 1
    #: latent numbers for each step, which the head combines with the features known ahead
    latent: int = 0
    layers: int = 1
    activation: str = "tanh"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    @property
    def num_outputs(self) -> int:
        """Outputs of a window, step after step: of each the middle quantile, latent numbers and the other quantiles."""
        return self.horizon * (self.levels + self.latent)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """Number of features of each kind that the networks of a recipe read beside the values."""

    horizon: int
    #: known up to the origin
    past: int = 0
    #: known over the horizon too
    ahead: int = 0
    #: one value for the whole series
    static: int = 0

    @property
    def channels(self) -> int:
        """Channels of each period of the context: its value, whether the value is known, and the features."""
        return 2 + self.past + self.ahead

    def shapes(self, context: int) -> dict[str, tuple[int, ...]]:
        """Shape of each input by its name, without the batch axis."""
        shapes: dict[str, tuple[int, ...]] = {"context": (context, self.channels)}
        if self.ahead:
            shapes["ahead"] = (self.horizon, self.ahead)
        if self.static:
            shapes["static"] = (self.static,)
        return shapes
