"""The sizes that a network is built from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """Input [B, context, features], output [B, numbers]."""

    context: int
    features: int
    horizon: int
    units: int
    #: quantile levels that are given for each step, or one number
    levels: int = 1
    #: numbers for each step beside them, for a head to go on with
    hints: int = 0
    layers: int = 1
    activation: str = "tanh"
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    @property
    def numbers(self) -> int:
        """Numbers that a window gives: the middle one of the levels, hints and other levels of each step, one step after the other."""
        return self.horizon * (self.levels + self.hints)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSpec:
    """What every network of a recipe reads beside the values: how many features of each sort."""

    horizon: int
    #: known up to the origin
    past: int = 0
    #: known over the horizon too
    ahead: int = 0
    #: of the series
    static: int = 0

    @property
    def channels(self) -> int:
        """Of each period of the context: its value, whether that is known, and the features."""
        return 2 + self.past + self.ahead

    def shapes(self, context: int) -> dict[str, tuple[int, ...]]:
        """By name, the shape of each input of a network, without its windows."""
        shapes: dict[str, tuple[int, ...]] = {"context": (context, self.channels)}
        if self.ahead:
            shapes["ahead"] = (self.horizon, self.ahead)
        if self.static:
            shapes["static"] = (self.static,)
        return shapes
