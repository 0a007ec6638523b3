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
    input_spec: InputSpec = BARE,
    *,
    seed: int = 0,
    units: int = 4,
    levels: int = len(LEVELS),
    config: GlobalLSTMConfig = FRAME,
    scaling: str = "last",
    lag: int = 1,
) -> keras.Model:
    """The untrained trunk of any architecture."""
    keras.utils.set_random_seed(seed)
    if architecture == GLOBAL:
        return build_trunk(config, input_spec=input_spec, units=units, levels=levels)
    spec = NetworkSpec(context=CONTEXT, features=0, horizon=HORIZON, units=units, levels=levels, layers=2)
    return build_scaled_trunk(architecture, spec, input_spec, scaling=scaling, lag=lag)


def windows_for(
    input_spec: InputSpec = BARE, count: int = 7, seed: int = 0, context: int = CONTEXT
) -> dict[str, Array]:
    """Inputs of a network by name: windows of random walks whose values are all known."""
    rng = np.random.default_rng(seed)
    inputs = {name: rng.normal(size=(count, *shape)) for name, shape in input_spec.shapes(context).items()}
    inputs["context"][..., 0] = inputs["context"][..., 0].cumsum(axis=1)
    inputs["context"][..., 1] = 1
    return inputs


def first(windows: dict[str, Array], count: int) -> dict[str, Array]:
    """The first `count` windows."""
    return {name: values[:count] for name, values in windows.items()}


def single(windows: dict[str, Array]) -> dict[str, Any]:
    """The same in single precision, as ONNX Runtime takes them."""
    return {name: values.astype(np.float32) for name, values in windows.items()}
