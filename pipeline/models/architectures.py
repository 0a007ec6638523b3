"""The architectures that a recipe can name."""

from __future__ import annotations

from collections.abc import Callable

import keras

from pipeline.models.gated_cell import gated_cell
from pipeline.models.sizes import Sizes
from pipeline.models.stacked import stacked
from pipeline.models.vanilla import vanilla

ARCHITECTURES: dict[str, Callable[[Sizes], keras.Model]] = {
    "vanilla": vanilla,
    "stacked": stacked,
    "gated-cell": gated_cell,
}
