"""Networks whose mean forecasts, with what turns windows into their inputs and their outputs into forecasts.

Keras is not imported here: a network that ships with the package forecasts without it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.forecasting.forecaster import WINDOWS_PER_BATCH, ModelInputs, create_session, prepare_inputs
from pipeline.preprocessing.covariates import FeatureArrays, Features
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import ContextRequirements, Windows
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


class Network(Protocol):
    """Computes quantiles [N, H, K] of inputs by name, in units of the context."""

    def predict(self, inputs: dict[str, Array]) -> Array:
        """Compute the outputs."""


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """A network that ONNX Runtime computes from `context` [N, L, 2], its only input."""

    content: bytes

    def predict(self, inputs: dict[str, Array]) -> Array:
        """Compute the outputs in batches, which run in parallel threads."""
        session, single = create_session(self.content), inputs["context"].astype(np.float32)
        batches = [single[start : start + WINDOWS_PER_BATCH] for start in range(0, len(single), WINDOWS_PER_BATCH)]
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            outputs = list(threads.map(lambda batch: session.run(None, {"context": batch})[0], batches))
        return np.concatenate(outputs).astype(np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class ForecastEnsemble(ABC):
    """Networks whose mean forecasts."""

    scaling: Scaling
    features: Features

    @property
    @abstractmethod
    def needs(self) -> ContextRequirements:
        """What a window must have so that each member can read it."""

    @property
    @abstractmethod
    def is_pretrained(self) -> bool:
        """Whether all members began with weights that ship with the package."""

    @abstractmethod
    def build_network(self) -> Network:
        """Build the network from inputs by name to the mean of the members' quantiles."""

    def prepare_inputs(self, panel: Panel, windows: Windows, features: FeatureArrays | None = None) -> ModelInputs:
        """What the members read of windows of a panel; `features` are those of the panel, if already computed."""
        features = features or self.features.transform(panel)
        return prepare_inputs(panel, features, windows, self.scaling, self.needs.context)

    def quantiles(self, network: Network, inputs: ModelInputs) -> Array:
        """Forecasts of a network for n usable windows, in units of the series: [n, H, K]."""
        outputs = network.predict(inputs.inputs)
        return self.scaling.unscale(outputs, inputs.centre[:, :, None], inputs.scale[:, :, None])


def join_needs(needs: list[ContextRequirements]) -> ContextRequirements:
    """What a window must have so that networks with these needs can all read it."""
    return ContextRequirements(
        context=max(need.context for need in needs),
        least_length=max(need.least_length for need in needs),
        least_known=max(need.least_known for need in needs),
        season=max(need.season for need in needs),
    )
