"""The published model read back with its weights, to be fine-tuned or compared with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.forecasting.forecaster import Forecaster, load_forecaster
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.training.export import unpack_weights

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """The model that publishes, with what is needed to go on from its weights."""

    recipe: Recipe
    forecaster: Forecaster
    #: of each member; no epochs: those of the recipe
    weights: Sequence[Sequence[Array]]
    designs: Sequence[GlobalLSTMConfig]
    epochs: Sequence[int] | None
    #: share of the correction that counts
    trust: float

    def forecasts_what(self, recipe: Recipe) -> bool:
        """Whether it can stand beside a model of a recipe: the same periods of the same panel."""
        return (self.recipe.horizon, self.recipe.covariates, self.recipe.grid) == (
            recipe.horizon,
            recipe.covariates,
            recipe.grid,
        )

    def has_seen(self, period: np.datetime64) -> bool:
        """Whether it was fitted on later periods than this one."""
        return bool(self.forecaster.cutoff > period)


def read_champion(files: Mapping[str, bytes], model_hash: str) -> Champion:
    """The champion in a model directory, whose hash was recorded.

    Raises:
        ModelRefused: a file is missing or changed, an earlier release wrote other fields, or the network gives other
            numbers here.
    """
    forecaster = load_forecaster(files, model_hash)
    fields = json.loads(files["forecaster.json"])
    try:
        recipe = Recipe.model_validate(fields["recipe"])
    except ValueError:
        raise ModelRefused("its recipe is of an earlier release") from None
    return Champion(
        recipe=recipe,
        forecaster=forecaster,
        weights=unpack_weights(files["weights.npz"]),
        designs=[GlobalLSTMConfig(**design) for design in fields["members"]],
        epochs=fields.get("epochs"),  # earlier releases did not keep them, nor the trust
        trust=float(fields.get("trust", 1.0)),
    )
