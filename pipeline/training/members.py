"""The networks of a recipe's ensemble: what each needs of a window, how it is built and how it is fitted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import keras
import numpy as np
import numpy.typing as npt

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.models import global_lstm
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.pretrained import fit_weights, load_member
from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_scaling import build_scaled_trunk
from pipeline.preprocessing.windows import ContextRequirements
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.champion import Champion
from pipeline.training.fit_network import FitSettings
from pipeline.training.history import choose_configs, choose_context, config_needs, context_needs, scaling_lag

Array = npt.NDArray[np.float64]

#: factors of the learning rate and of the epochs when a network is fine-tuned; `tests/benchmarks/fine_tuning.py` compares
FINE_TUNE_RATE, FINE_TUNE_EPOCHS = 0.5, 0.15
#: gradient steps of an epoch of a global network: how often its loss is reported
_STEPS_PER_EPOCH = 25


class BuildTrunk(Protocol, Hashable):
    """Builds the untrained trunk of a member; two that are equal build trunks that differ in nothing but their weights."""

    def __call__(self, input_spec: InputSpec, *, at_origin: bool = ...) -> keras.Model:
        """Build a trunk; with `at_origin` it forecasts from the last position of a window alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _BuildGlobal:
    """Builds a member of the global network."""

    config: GlobalLSTMConfig
    units: int

    def __call__(self, input_spec: InputSpec, *, at_origin: bool = False) -> keras.Model:
        return global_lstm.build_trunk(
            self.config, input_spec=input_spec, units=self.units, levels=len(LEVELS), at_origin=at_origin
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _BuildRecipe:
    """Builds a member of another architecture, whose inputs the recipe states itself."""

    architecture: str
    spec: NetworkSpec
    #: see `build_scaled_trunk`
    scaling: str
    lag: int

    def __call__(self, input_spec: InputSpec, *, at_origin: bool = True) -> keras.Model:
        del at_origin  # the origin is its only position
        return build_scaled_trunk(self.architecture, self.spec, input_spec, scaling=self.scaling, lag=self.lag)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One network to fit."""

    needs: ContextRequirements
    settings: FitSettings
    build: BuildTrunk
    #: draw windows for the whole fit, each series or each window equally likely; None: an epoch is all windows
    draw: Literal["series", "windows"] | None = None
    #: of a member of the global network
    config: GlobalLSTMConfig | None = None

    @property
    def is_pretrained(self) -> bool:
        """Whether a fit starts from a network that ships with the package, not from the seed."""
        return bool(self.config and self.config.pretrained)

    def pretrained_weights(self, trunk: keras.Model) -> list[Array]:
        """Return the weights that a fit of an untrained trunk starts from.

        Raises:
            ModelRefused: this installation does not have the pretrained network.
        """
        assert self.config is not None
        assert self.config.pretrained is not None
        weights, trained_horizon = load_member(self.config.pretrained)
        initial = [(weight.path, weight.numpy()) for weight in trunk.weights]
        return fit_weights(initial, weights, trained_horizon=trained_horizon, horizon=int(trunk.output[0].shape[2]))

    @property
    def num_drawn(self) -> int:
        """Windows to draw for the whole fit, one for each place in each batch; 0 where none are drawn."""
        return self.settings.epochs * (self.settings.steps_per_epoch or 0) * self.settings.batch_size

    def fine_tuning(self) -> Member:
        """Return the same member with fewer epochs and a lower learning rate."""
        settings = replace(
            self.settings,
            epochs=max(min(self.settings.epochs, 1), round(self.settings.epochs * FINE_TUNE_EPOCHS)),
            learning_rate=self.settings.learning_rate * FINE_TUNE_RATE,
        )
        return replace(self, settings=settings)

    def moved_by(self, share: float) -> Member:
        """Return the same pretrained member, whose weights are moved by a share of the way to the fitted ones."""
        assert self.config is not None
        return replace(self, config=replace(self.config, moved=share))

    def for_epochs(self, epochs: int) -> Member:
        """Return the same member with a fixed number of epochs, without early stopping."""
        return replace(self, settings=replace(self.settings, epochs=epochs, patience=None))


def build_members(
    panel: Panel,
    recipe: Recipe,
    *,
    champion: Champion | None = None,
    configs: Sequence[GlobalLSTMConfig] = (),
) -> list[Member]:
    """Derive the members of a recipe's ensemble; their seeds count up from the recipe's.

    Args:
        panel: series that they are fitted on; what a default network reads follows from it.
        recipe: what to fit.
        champion: read what its members read; None: what suits the panel.
        configs: of the members of a global network, instead of these.
    """
    seed = recipe.training.seed
    if recipe.model.architecture != GLOBAL:
        context = champion.forecaster.needs.context if champion else choose_context(panel, recipe)
        return [_recipe_member(recipe, context, seed + n) for n in range(recipe.num_members)]
    configs = configs or (champion.configs if champion else ()) or choose_configs(panel, recipe)
    return [_global_member(config, recipe, seed + n) for n, config in enumerate(configs)]


def _global_member(config: GlobalLSTMConfig, recipe: Recipe, seed: int) -> Member:
    units = config.units or recipe.model.units
    return Member(
        needs=config_needs(config),
        settings=FitSettings(
            epochs=max(0 if config.pretrained else 1, round(config.steps / _STEPS_PER_EPOCH)),
            steps_per_epoch=_STEPS_PER_EPOCH,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            loss=recipe.loss,
            weighting=config.weighting,
            schedule="cosine",
            clip_norm=1.0,
            seed=seed,
        ),
        build=_BuildGlobal(config=replace(config, moved=1.0), units=units),
        draw=config.draw,
        config=replace(config, units=units),
    )


def _recipe_member(recipe: Recipe, context: int, seed: int) -> Member:
    """A member of an architecture whose inputs and fit the recipe states itself."""
    model, training = recipe.model, recipe.training
    spec = NetworkSpec(
        context=context,
        features=0,
        horizon=recipe.horizon,
        units=model.units,
        levels=len(LEVELS) if recipe.loss == "pinball" else 1,
        layers=model.layers,
        activation=model.activation,
        dropout=model.dropout,
        recurrent_dropout=model.recurrent_dropout,
    )
    scaling = "last" if model.scaling == "log" else model.scaling
    lag = scaling_lag(recipe, context)
    return Member(
        needs=context_needs(context, lag),
        settings=FitSettings(
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            loss=recipe.loss,
            seed=seed,
            clip_norm=None if training.clip_value else training.clip_norm,
            clip_value=training.clip_value,
            optimizer=training.optimizer,
            schedule=training.schedule,
            patience=training.patience,
        ),
        build=_BuildRecipe(
            architecture=model.architecture,
            spec=spec,
            scaling="given" if recipe.is_scaled_by_series else scaling,
            lag=lag,
        ),
    )
