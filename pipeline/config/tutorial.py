"""The schema of a recipe's `[tutorial]`: the protocol of the tutorial that the recipe reproduces."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from pipeline.config.architectures import GLOBAL, Architecture
from pipeline.config.sources import Table


def _as_tuple(names: Any) -> Any:
    return (names,) if isinstance(names, str) else names


#: one architecture, or several in a list
Architectures = Annotated[tuple[Architecture, ...], Field(strict=False, min_length=1), BeforeValidator(_as_tuple)]


class Tutorial(Table):
    """The protocol of the tutorial that a recipe comes from, reported beside the recipe's own backtest."""

    row: str = Field(description="which tutorial")
    metric: Literal["rmse"] = Field("rmse", description="what it measured")
    published: float | None = Field(None, description="the figure that the tutorial printed, if any")
    train: float = Field(gt=0, description="training part: a share below 1, or a number of values or windows")
    rounding: Literal["floor", "ceil"] = Field("floor", description="how a share is rounded")
    split: Literal["values", "windows"] = Field("values", description="what is split: the values, or all windows")
    order: Literal["time", "newest-first"] = Field("time", description="the order of the values in the tutorial")
    scaling: Literal["min-max", "standard"] = Field(
        "min-max", description="scaler over the whole series, test part included"
    )
    scaled_on: Literal["all", "train"] = Field("all", description="what the tutorial fitted its scaler on")
    reach_back: bool = Field(False, description="test windows begin in the training part")
    lose_last: bool = Field(False, description="drop the last window, as `range(len(d) - look_back - 1)` does")
    recursive: bool = Field(False, description="each prediction is fed back to make the next")
    context: int = Field(gt=0, description="window length")
    architecture: Architecture = Field(description="as in [model]")
    units: int = Field(gt=0, description="as in [model]")
    layers: int = Field(1, gt=0, description="as in [model]")
    activation: Literal["tanh", "relu"] = Field("tanh", description="as in [model]")
    dropout: float = Field(0.0, ge=0, lt=1, description="as in [model]")
    epochs: int = Field(gt=0, description="as in [training]")
    batch_size: int = Field(gt=0, description="as in [training]")
    learning_rate: float = Field(0.001, gt=0, description="as in [training]")
    clip_value: float | None = Field(None, gt=0, description="gradients are clipped to this magnitude")
    shuffle: bool = Field(True, description="windows are drawn in random order")
    variants: dict[str, Architectures] = Field(
        {}, description="other networks for `backtest` alone: architectures by row; a stacked one has a layer more"
    )

    def contradictions(self) -> Iterator[str]:
        """Yield a message for each choice that the tutorial's networks cannot follow."""
        if self.architecture == GLOBAL:
            yield 'tutorial.architecture is "global", which is no tutorial\'s: expected another one'
        for row, architectures in self.variants.items():
            if GLOBAL in architectures:
                yield f'tutorial.variants.{row} is "global", which is no tutorial\'s: expected another one'
        if self.activation != "tanh" and "gated-cell" in (self.architecture, *chain(*self.variants.values())):
            yield f'tutorial.activation is "{self.activation}", but the gates of "gated-cell" are written out with tanh'
        if 1 <= self.train <= self.context:
            yield f"tutorial.train is {self.train:g}: expected more than tutorial.context = {self.context}"
