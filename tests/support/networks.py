"""Networks of every architecture, small, and windows for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline.config.architectures import GLOBAL
from pipeline.models.global_lstm import build_trunk
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_scaling import build_scaled_trunk
from pipeline.timeseries.forecast import LEVELS

Array = npt.NDArray[np.float64]

CONTEXT, HORIZON = 12, 3
BARE = InputSpec(horizon=HORIZON)
RICH = InputSpec(horizon=HORIZON, past=1, ahead=2, static=2)
FRAME = GlobalLSTMConfig(
    kind="frame",
    size=4,
    context=CONTEXT,
    base=1,
    skip=0,
    weighting="half",
    draw="series",
    steps=50,
    batch_size=16,
    learning_rate=0.01,
)
FOLD = replace(FRAME, kind="fold", skip=8, weighting="between")


def trunk_of(
    architecture: str,
    reads: InputSpec = BARE,
    *,
    seed: int = 0,
    units: int = 4,
    levels: int = len(LEVELS),
    design: GlobalLSTMConfig = FRAME,
    scaling: str = "last",
    lag: int = 1,
) -> keras.Model:
    """The untrained trunk of any architecture."""
    keras.utils.set_random_seed(seed)
    if architecture == GLOBAL:
        return build_trunk(design, reads=reads, units=units, levels=levels)
    sizes = NetworkSpec(context=CONTEXT, features=0, horizon=HORIZON, units=units, levels=levels, layers=2)
    return build_scaled_trunk(architecture, sizes, reads, scaling=scaling, lag=lag)


def windows_for(reads: InputSpec = BARE, count: int = 7, seed: int = 0, context: int = CONTEXT) -> dict[str, Array]:
    """What a network reads of some random walks, all of whose values are known."""
    rng = np.random.default_rng(seed)
    told = {name: rng.normal(size=(count, *shape)) for name, shape in reads.shapes(context).items()}
    told["context"][..., 0] = told["context"][..., 0].cumsum(axis=1)
    told["context"][..., 1] = 1
    return told


def first(windows: dict[str, Array], count: int) -> dict[str, Array]:
    """The first of some windows."""
    return {name: told[:count] for name, told in windows.items()}


def single(windows: dict[str, Array]) -> dict[str, Any]:
    """As ONNX Runtime takes them."""
    return {name: told.astype(np.float32) for name, told in windows.items()}
