"""Make a model of the pretrained network as it ships with the package: in a second, without TensorFlow.

Such a model is published before anything was fitted, or where a history is too short to be fitted on. The next
fine-tuning fits it further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.evaluation.comparison import series_worse_than_baseline
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.holdout_record import build_backtest_record
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.onnx_network import FittedMember, build_onnx_network
from pipeline.models.pretrained import LSTM_WEIGHTS, OUTPUT_WEIGHTS, Weights, cut_weights, load_member
from pipeline.preprocessing.covariates import fit_features
from pipeline.preprocessing.windows import ContextRequirements
from pipeline.records.training import TrainingRecord
from pipeline.timeseries.panel import Panel
from pipeline.training.backtest import forecast_test_part, last_fitted_position
from pipeline.training.forecast_ensemble import ForecastEnsemble, OnnxNetwork, join_needs
from pipeline.training.gate import judge_challenger
from pipeline.training.history import choose_configs, config_needs, fit_recipe_scaling, has_fitting_windows
from pipeline.training.model_files import ModelContent, build_files, read_golden_inputs
from pipeline.training.process_files import TrainedModel


def has_shipped_network(panel: Panel, recipe: Recipe) -> bool:
    """Whether a pretrained network forecasts a recipe's panel as it is."""
    return recipe.model.architecture == GLOBAL and bool(choose_configs(panel, recipe)[0].pretrained)


def can_be_fitted(panel: Panel, recipe: Recipe) -> bool:
    """Whether each member of a recipe's network has a window to be fitted on."""
    return recipe.model.architecture != GLOBAL or has_fitting_windows(panel, recipe, choose_configs(panel, recipe))


def make_shipped_model(panel: Panel, recipe: Recipe, *, reason: str) -> TrainedModel:
    """Make the first model of a recipe: its pretrained network, calibrated on the test part.

    Args:
        panel: as for `train`.
        recipe: for which `has_shipped_network`.
        reason: why the model is made, for the record.

    Raises:
        ModelRefused: no series ends with a window that the network can read.
    """
    ensemble = _load_ensemble(panel, recipe)
    golden = read_golden_inputs(panel, ensemble)
    network = ensemble.build_network()
    backtest = _run_backtest(panel, recipe)
    content = ModelContent(
        recipe=recipe,
        panel=panel,
        ensemble=ensemble,
        network=network.content,
        weights=[[weights[name] for name in (*LSTM_WEIGHTS, *OUTPUT_WEIGHTS)] for weights in ensemble.weights],
        golden=golden,
        golden_outputs=network.predict(golden.inputs),
        widths=None,
        calibration=backtest.calibration if backtest else None,
        epochs=[0] * len(ensemble.configs),
        shrinkage=1.0,
        configs=ensemble.configs,
    )
    record = _build_record(panel, recipe, ensemble, backtest, reason=reason)
    return TrainedModel(files=build_files(content), keras_archive=None, record=record)


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShippedEnsemble(ForecastEnsemble):
    """The members of a pretrained network as they are."""

    configs: Sequence[GlobalLSTMConfig]
    #: of each member, for the recipe's horizon
    weights: Sequence[Weights]
    horizon: int

    @property
    def needs(self) -> ContextRequirements:
        """What a window must have so that each member can read it."""
        return join_needs([config_needs(config) for config in self.configs])

    @property
    def is_pretrained(self) -> bool:
        """True."""
        return True

    def build_network(self) -> OnnxNetwork:
        """Build the network from windows to the mean of the members' quantiles."""
        members = [
            FittedMember(config=config, weights=weights)
            for config, weights in zip(self.configs, self.weights, strict=True)
        ]
        return OnnxNetwork(build_onnx_network(members, self.horizon))


def _load_ensemble(panel: Panel, recipe: Recipe) -> _ShippedEnsemble:
    configs = [replace(config, moved=0.0) for config in choose_configs(panel, recipe) if config.pretrained]
    return _ShippedEnsemble(
        scaling=fit_recipe_scaling(panel, recipe),
        features=fit_features(panel, recipe),
        configs=configs,
        weights=[_load_weights(config, recipe.horizon) for config in configs],
        horizon=recipe.horizon,
    )


def _load_weights(config: GlobalLSTMConfig, horizon: int) -> Mapping[str, npt.NDArray[Any]]:
    assert config.pretrained is not None
    weights, trained_horizon = load_member(config.pretrained)
    return cut_weights(weights, trained_horizon=trained_horizon, horizon=horizon)


def _run_backtest(panel: Panel, recipe: Recipe) -> HoldoutBacktest | None:
    cutoff = last_fitted_position(panel, recipe)
    if cutoff < 0 or not (before := panel.until(cutoff)).series or not has_shipped_network(before, recipe):
        return None
    return forecast_test_part(panel, before, recipe, _load_ensemble(before, recipe))


def _build_record(
    panel: Panel, recipe: Recipe, ensemble: _ShippedEnsemble, backtest: HoldoutBacktest | None, *, reason: str
) -> TrainingRecord:
    return TrainingRecord(
        training="retrain",
        reason=reason,
        loss=(),
        validation_loss=(),
        epochs=0,
        num_windows=0,
        num_series=len(panel.series),
        designs=tuple(str(replace(config, steps=0)) for config in ensemble.configs),
        began=str(panel.grid[panel.first.min()]),
        num_observations=int(np.isfinite(panel.values).sum()),
        cutoff=str(panel.origin),
        backtest=build_backtest_record(backtest, panel, recipe) if backtest else None,
        tutorial=(),
        gate=judge_challenger(panel, recipe, backtest, None, None),
        worse=series_worse_than_baseline(backtest, recipe.gate.baseline, panel.series) if backtest else {},
    )
