"""The networks that a recipe asks for: what each needs of a window, how it is built and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.models import global_lstm
from pipeline.models.global_lstm_config import GlobalLSTMConfig, default_configs
from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_scaling import build_scaled_trunk
from pipeline.preprocessing.windows import ContextRequirements
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.fit import Fitting

#: a fine-tuned network learns this much slower, for this share of the epochs: `tests/benchmarks/fine_tuning.py` compares
FINE_TUNE_RATE, FINE_TUNE_EPOCHS = 0.5, 0.15
#: steps after which the loss of a global network is told
_STEPS_AN_EPOCH = 25


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One network to fit."""

    needs: ContextRequirements
    fitting: Fitting
    #: an untrained trunk, from what it reads; with `at_origin` it forecasts from nowhere else
    build: Callable[..., keras.Model]
    #: what is as likely where windows are drawn; none: an epoch is all of them
    evenly: Literal["series", "windows"] | None = None
    #: of a network that chooses what it reads
    design: GlobalLSTMConfig | None = None

    @property
    def num_drawn(self) -> int:
        """Windows that are drawn for all steps."""
        return self.fitting.epochs * (self.fitting.steps_per_epoch or 0) * self.fitting.batch_size

    def fine_tuning(self) -> Member:
        """The same, for fewer epochs at a lower rate."""
        fitting = self.fitting
        return replace(
            self,
            fitting=replace(
                fitting,
                epochs=max(1, round(fitting.epochs * FINE_TUNE_EPOCHS)),
                learning_rate=fitting.learning_rate * FINE_TUNE_RATE,
            ),
        )

    def for_epochs(self, epochs: int) -> Member:
        """The same, for another number of epochs."""
        return replace(self, fitting=replace(self.fitting, epochs=epochs, patience=None))


def build_members(panel: Panel, recipe: Recipe, *, designs: Sequence[GlobalLSTMConfig] | None = None) -> list[Member]:
    """The members of a recipe's network.

    Args:
        panel: what they are fitted on; the global network's inputs follow from it.
        recipe: what to fit.
        designs: of the members of a global network that is to be fine-tuned; none: by the rule.
    """
    if recipe.model.architecture == GLOBAL:
        chosen = designs or default_configs(
            panel,
            season=recipe.season,
            horizon=recipe.horizon,
            members=recipe.num_members,
            with_features=recipe.covariates.are_read,
        )
        return [_designed(design, recipe, recipe.training.seed + n) for n, design in enumerate(chosen)]
    return [_as_told(recipe, recipe.training.seed + n) for n in range(recipe.num_members)]


def _designed(design: GlobalLSTMConfig, recipe: Recipe, seed: int) -> Member:
    def build(input_spec: InputSpec, *, at_origin: bool = False) -> keras.Model:
        return global_lstm.build_trunk(
            design, input_spec=input_spec, units=recipe.model.units, levels=len(LEVELS), at_origin=at_origin
        )

    return Member(
        needs=ContextRequirements(
            context=design.context,
            least_length=design.least_known,
            least_known=design.least_known,
            rather_whole=design.kind == "frame",
        ),
        fitting=Fitting(
            epochs=max(1, round(design.steps / _STEPS_AN_EPOCH)),
            steps_per_epoch=_STEPS_AN_EPOCH,
            batch_size=design.batch_size,
            learning_rate=design.learning_rate,
            loss=recipe.loss,
            weighting=design.weighting,
            schedule="cosine",
            clip_norm=1.0,
            seed=seed,
        ),
        build=build,
        evenly=design.draw,
        design=design,
    )


def _as_told(recipe: Recipe, seed: int) -> Member:
    model, training = recipe.model, recipe.training
    sizes = NetworkSpec(
        context=recipe.context,
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
    lag = {"seasonal": recipe.season, "last": 1}.get(scaling, 0)

    def build(input_spec: InputSpec, *, at_origin: bool = True) -> keras.Model:
        del at_origin  # it forecasts from nowhere else
        kind = "given" if recipe.is_scaled_by_series else scaling
        return build_scaled_trunk(model.architecture, sizes, input_spec, scaling=kind, lag=lag)

    return Member(
        needs=ContextRequirements(
            context=recipe.context,
            least_length=recipe.context,
            least_known=max(recipe.context // 2, min(2, recipe.context)),
        ),
        fitting=Fitting(
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
        build=build,
    )
