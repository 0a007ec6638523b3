"""The current model read back with its weights, to be fine-tuned or compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.errors import ModelRefused
from pipeline.forecasting.forecaster import Forecaster, load_forecaster
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.pretrained import is_installed
from pipeline.training.model_files import unpack_weights

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The current model, with what is needed to fine-tune it or to fit it again."""

    recipe: Recipe
    forecaster: Forecaster
    #: of each member, in the order of `keras.Model.get_weights`
    weights: Sequence[Sequence[Array]]
    #: of each member of a global network; empty for the other architectures
    configs: Sequence[GlobalLSTMConfig]
    #: of a fit of each member from its seed; None: those of the recipe
    epochs: Sequence[int] | None
    #: factor of the network's correction of its base, from 0 to 1
    shrinkage: float

    def is_comparable_with(self, recipe: Recipe) -> bool:
        """Whether it forecasts the same periods from the same covariates as a model of `recipe`."""
        return (self.recipe.horizon, self.recipe.covariates.inputs, self.recipe.grid) == (
            recipe.horizon,
            recipe.covariates.inputs,
            recipe.grid,
        )

    @property
    def can_be_fitted_again(self) -> bool:
        """Whether this installation has the pretrained networks that its members began with, if any."""
        return all(is_installed(config.pretrained) for config in self.configs if config.pretrained)

    def was_fitted_after(self, period: np.datetime64) -> bool:
        """Whether it was fitted on periods later than `period`."""
        return bool(self.forecaster.cutoff > period)


@dataclass(frozen=True, kw_only=True, slots=True)
class UnusableChampion:
    """The current model, where it can be neither fine-tuned nor compared with."""

    reason: str


def read_champion(files: Mapping[str, bytes], model_hash: str) -> Champion:
    """Read the champion from the files of its model directory, whose hash was recorded.

    Raises:
        ModelRefused: a file is missing or changed, an earlier release wrote other fields, or the network gives other
            numbers here.
    """
    forecaster = load_forecaster(files, model_hash)
    fields = json.loads(files["forecaster.json"])
    try:
        recipe = recipe_from_definition(fields["recipe"])
    except ValueError:
        raise ModelRefused("its recipe is of an earlier release") from None
    return Champion(
        recipe=recipe,
        forecaster=forecaster,
        weights=unpack_weights(files["weights.npz"]),
        configs=[GlobalLSTMConfig(**config) for config in fields["members"]],
        epochs=fields.get("epochs"),  # earlier releases kept neither epochs nor shrinkage
        shrinkage=float(fields.get("trust", 1.0)),
    )
