"""What MLflow's tables show of a training: few named parameters, metrics in groups, and tags for its lineage."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import Lineage, ModelVersion
from pipeline.records.training import BacktestRecord, TrainingRecord

#: how MLflow's page opens the table of trainings with the columns that count: `?viewStateShareKey=…`, or its menu "Views"
VIEW = "backtest"
_VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
_COLUMNS = {
    "metrics": ("backtest/mase", "baseline/mase", "skill/mase", "skill/origins_won", "coverage/80", "coverage/95"),
    "params": ("architecture", "num_series"),
    "tags": ("nextperiod.training", "nextperiod.reason"),
    "attributes": ("Models",),
}

#: MLflow's table shows about so many; all of them are in the record
_DIGITS = 6

#: name, value and step
Metric = tuple[str, float, int]


def metrics_of(recipe: Recipe, record: TrainingRecord) -> list[Metric]:
    """By name and step; the part of a name before its slash is the group of charts that it is shown in.

    The recipe's own baseline is `baseline/…`, another one `baseline/<its name>/…`.
    """
    values = [*_losses(record), *_tutorial(record)]
    if record.backtest is not None:
        values += _of_backtest(record.backtest, recipe.gate.baseline)
    return [
        (name, float(f"{value:.{_DIGITS}g}"), step)
        for name, value, step in values
        if value is not None and math.isfinite(value)
    ]


def parameters_of(recipe: Recipe, record: TrainingRecord) -> dict[str, str]:
    """What was decided before the training, and how much it had to learn from."""
    shown: dict[str, object] = {
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
        "baseline": recipe.gate.baseline,
        "epochs": record.epochs,
        "num_windows": record.num_windows,
        "num_series": record.num_series,
    }
    if record.designs:
        for chosen_by_the_network in ("context", "scaling", "learning_rate", "batch_size"):
            del shown[chosen_by_the_network]
        shown |= {f"member_{n}": design for n, design in enumerate(record.designs, start=1)}
    return {name: str(value) for name, value in shown.items()}


def tags_of(model: ModelVersion) -> dict[str, str]:
    """Where a model comes from, why it was trained, and what the gate said."""
    gate = model.record.gate
    return {
        **lineage_tags(model.lineage, model.training, model.reason),
        "nextperiod.model_hash": model.model_hash,
        "nextperiod.model_version": str(model.model_version),
        "nextperiod.cutoff": str(model.cutoff)[:10],
        **({"nextperiod.gate": f"{gate.outcome}: {gate.reason}"} if gate else {}),
    }


def saved_view(created_at: int) -> dict[str, str]:
    """The tag of an experiment that makes MLflow's page offer this view of its table; an instant in milliseconds."""
    columns = [f"{kind}.`{name}`" for kind, names in _COLUMNS.items() for name in names]
    state = json.dumps({"selectedColumns": columns})
    view = {"name": "Backtest beside its baseline", "createdAt": created_at, "updatedAt": created_at, "state": state}
    return {_VIEW_TAG: json.dumps(view)}


def lineage_tags(lineage: Lineage, training: str, reason: str) -> dict[str, str]:
    """What is known of a training before there is a model."""
    return {
        "nextperiod.recipe_fingerprint": lineage.recipe_fingerprint,
        "nextperiod.data_hash": lineage.data_hash,
        "nextperiod.code_version": lineage.code_version,
        "nextperiod.training": training,
        "nextperiod.reason": reason,
    }


def _losses(record: TrainingRecord) -> Iterator[tuple[str, float | None, int]]:
    for kind, losses in (("training", record.loss), ("validation", record.validation_loss)):
        yield from ((f"loss/{kind}", loss, epoch) for epoch, loss in enumerate(losses, start=1))


def _tutorial(record: TrainingRecord) -> Iterator[tuple[str, float | None, int]]:
    for line in record.tutorial:
        yield f"tutorial/rmse_{'as_written' if line.protocol == 'as written' else 'without_leak'}", line.rmse, 0


def _of_backtest(backtest: BacktestRecord, baseline: str) -> Iterator[tuple[str, float | None, int]]:
    groups = {"lstm": "backtest", baseline: "baseline"}
    for method, scores in backtest.scores.items():
        group = groups.get(method, f"baseline/{method}")
        yield from ((f"{group}/{metric}", value, 0) for metric, value in scores.items())
        errors = backtest.mae_by_step.get(method, ())
        yield from ((f"{group}/mae_by_step", value, step) for step, value in enumerate(errors, start=1))
    yield from ((f"skill/{metric}", value, 0) for metric, value in _skills(backtest, baseline).items())
    yield "skill/origins_won", backtest.share_won(baseline), 0
    yield from ((f"coverage/{percent}", value, 0) for percent, value in backtest.coverage.items())


def _skills(backtest: BacktestRecord, baseline: str) -> Mapping[str, float | None]:
    """1 - error / error of the baseline, by metric."""
    ours, theirs = backtest.scores.get("lstm", {}), backtest.scores.get(baseline, {})
    skills: dict[str, float | None] = {}
    for metric in ("rmse", "mae"):
        error, other = ours.get(metric), theirs.get(metric)
        skills[metric] = None if error is None or not other else 1 - error / other
    return {**skills, "mase": backtest.skill}
