"""What MLflow's tables show of a training: a few parameters, metrics in groups, and tags for its lineage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.timeseries.forecast import NETWORK

#: tag that identifies the run of a training before it has a model
TRAINING_KEY = "nextperiod.training_key"
#: the saved view of MLflow's table of trainings: `?viewStateShareKey=…` in its address, or its menu "Views"
VIEW = "backtest"
_VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
#: MLflow sorts the columns of metrics by name; these fit into a page of 1,400 pixels up to the skill
_COLUMNS = {
    "metrics": ("backtest/mase", "baseline/mase", "skill/mase", "skill/origins_won", "coverage/80", "coverage/95"),
    "params": ("architecture", "num_series"),
    "tags": ("nextperiod.training", "nextperiod.reason"),
}
#: as many as MLflow's table shows; the record keeps all of them
_SIGNIFICANT_DIGITS = 6


class RunMetric(NamedTuple):
    """A value of a metric; the step is an epoch, a step ahead, or 0."""

    name: str
    value: float
    step: int


def training_metrics(recipe: Recipe, record: TrainingRecord) -> list[RunMetric]:
    """Return the metrics of a training, rounded to six digits; values that are missing or not finite are left out.

    MLflow groups charts by the part of a name before its slash. The recipe's baseline is `baseline/…`, any other
    baseline is `baseline/<its name>/…`.
    """
    values = [*_losses(record), *_tutorial_errors(record)]
    if record.backtest is not None:
        values += _backtest_metrics(record.backtest, record.resolve_baseline(recipe.gate.baseline))
    return [
        RunMetric(name, float(f"{value:.{_SIGNIFICANT_DIGITS}g}"), step)
        for name, value, step in values
        if value is not None and math.isfinite(value)
    ]


def training_params(recipe: Recipe, record: TrainingRecord) -> dict[str, str]:
    """Return what was decided before the training, and how much data it had."""
    params: dict[str, object] = {
        "architecture": recipe.model.architecture,
        "context": recipe.context,
        "horizon": recipe.horizon,
        "season_length": recipe.season,
        "units": recipe.model.units,
        "scaling": recipe.model.scaling,
        "loss": recipe.loss,
        "learning_rate": recipe.training.learning_rate,
        "batch_size": recipe.training.batch_size,
        "members": recipe.num_members,
        "seed": recipe.training.seed,
        "baseline": record.resolve_baseline(recipe.gate.baseline),
        "epochs": record.epochs,
        "num_windows": record.num_windows,
        "num_series": record.num_series,
    }
    if record.designs:
        for chosen_by_the_network in ("context", "units", "scaling", "learning_rate", "batch_size"):
            del params[chosen_by_the_network]
        params["members"] = len(record.designs)
        params |= {f"member_{n}": design for n, design in enumerate(record.designs, start=1)}
    return {name: str(value) for name, value in params.items()}


def model_tags(model: ModelVersion) -> dict[str, str]:
    """Return a model's lineage, the reason of its training, and the gate's decision."""
    gate = model.record.gate
    return {
        **lineage_tags(model.lineage, model.training, model.reason),
        "nextperiod.model_hash": model.model_hash,
        "nextperiod.model_version": str(model.model_version),
        "nextperiod.cutoff": str(model.cutoff)[:10],
        **({"nextperiod.gate": f"{gate.outcome}: {gate.reason}"} if gate else {}),
    }


def lineage_tags(lineage: Lineage, training: str, reason: str) -> dict[str, str]:
    """Return the tags of a training that has no model yet."""
    return {
        "nextperiod.recipe_fingerprint": lineage.recipe_fingerprint,
        "nextperiod.data_hash": lineage.data_hash,
        "nextperiod.code_version": lineage.code_version,
        "nextperiod.training": training,
        "nextperiod.reason": reason,
    }


def saved_view(created_at: int) -> dict[str, str]:
    """Return the experiment's tag that offers the saved view in MLflow's page; `created_at` is in milliseconds."""
    columns = [f"{kind}.`{name}`" for kind, names in _COLUMNS.items() for name in names]
    state = json.dumps({"selectedColumns": columns})
    view = {"name": "Backtest beside its baseline", "createdAt": created_at, "updatedAt": created_at, "state": state}
    return {_VIEW_TAG: json.dumps(view)}


def _losses(record: TrainingRecord) -> Iterator[tuple[str, float | None, int]]:
    for kind, losses in (("training", record.loss), ("validation", record.validation_loss)):
        for epoch, loss in enumerate(losses, start=1):
            yield f"loss/{kind}", loss, epoch


def _tutorial_errors(record: TrainingRecord) -> Iterator[tuple[str, float | None, int]]:
    for line in record.tutorial:
        protocol = "as_written" if line.protocol == "as written" else "without_leak"
        yield f"tutorial/rmse_{protocol}", line.rmse, 0


def _backtest_metrics(backtest: BacktestRecord, baseline: str) -> Iterator[tuple[str, float | None, int]]:
    groups = {NETWORK: "backtest", baseline: "baseline"}
    for method, scores in backtest.scores.items():
        group = groups.get(method, f"baseline/{method}")
        yield from ((f"{group}/{metric}", value, 0) for metric, value in scores.items())
        errors = backtest.mae_by_step.get(method, ())
        yield from ((f"{group}/mae_by_step", value, step) for step, value in enumerate(errors, start=1))
    yield from ((f"skill/{metric}", value, 0) for metric, value in _skills(backtest, baseline).items())
    yield "skill/origins_won", backtest.share_won(baseline), 0
    yield from ((f"coverage/{percent}", value, 0) for percent, value in backtest.coverage.items())


def _skills(backtest: BacktestRecord, baseline: str) -> Mapping[str, float | None]:
    """By metric: 1 - error / error of the baseline."""
    network_scores, baseline_scores = backtest.scores.get(NETWORK, {}), backtest.scores.get(baseline, {})
    skills: dict[str, float | None] = {}
    for metric in ("rmse", "mae"):
        error, baseline_error = network_scores.get(metric), baseline_scores.get(metric)
        skills[metric] = None if error is None or not baseline_error else 1 - error / baseline_error
    return {**skills, "mase": backtest.skill}
