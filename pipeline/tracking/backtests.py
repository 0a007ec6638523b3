"""Log a rolling-origin backtest in MLflow: one run in the recipe's experiment, with a child run for each origin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.config.recipe import Recipe
from pipeline.evaluation.rolling_origin import Origin, RollingBacktest
from pipeline.text import format_period
from pipeline.timeseries.forecast import NETWORK
from pipeline.tracking.client import TrackingClient

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, Run

#: tags that identify the runs of a backtest; ORIGIN is "all" for the parent
FINGERPRINT, ORIGIN = "nextperiod.backtest", "nextperiod.origin"
#: metrics that are also logged by step
_METRICS_BY_STEP = ("mase", "wql", "coverage_80", "coverage_95")


def log_backtest(
    client: TrackingClient, recipe: Recipe, backtest: RollingBacktest, facts: Mapping[str, Any], now: datetime
) -> str:
    """Log a backtest. The same backtest again gives the same run; a backtest cut off half-way is completed.

    Args:
        client: where to log.
        recipe: whose experiment it is logged in.
        backtest: what was measured.
        facts: what `--json` prints, kept as `backtest.json`.
        now: start of the runs.

    Returns:
        The id of the parent run.

    Raises:
        RegistryUnavailable: MLflow cannot be used.
    """
    with client.reachable():
        experiment = client.ensure_experiment(recipe.name)
        tags = {FINGERPRINT: backtest.fingerprint, "nextperiod.recipe_fingerprint": recipe.fingerprint}
        parent = _ensure_run(client, experiment, f"{recipe.name} backtest", now, {**tags, ORIGIN: "all"})
        run_id = str(parent.info.run_id)
        if parent.info.status == "FINISHED":
            return run_id
        # one time for all metrics: logging them again must add nothing
        timestamp = int(parent.info.start_time)
        for origin, scores in zip(backtest.origins, _scores_by_origin(backtest), strict=True):
            name = format_period(origin.origin)
            child_tags = {ORIGIN: name, "nextperiod.known": origin.known, "mlflow.parentRunId": run_id}
            child = _ensure_run(client, experiment, name, now, {**tags, **child_tags})
            client.mlflow.log_batch(child.info.run_id, _metrics(scores, timestamp), _params(_origin_facts(origin)))
            client.mlflow.set_terminated(child.info.run_id)
        metrics = _metrics(backtest.scores(), timestamp) + _metrics_by_step(backtest, timestamp)
        client.mlflow.log_batch(run_id, metrics, _params(_plan_facts(recipe, backtest)))
        client.mlflow.log_text(run_id, json.dumps(facts, indent=1), "backtest.json")
        client.mlflow.set_terminated(run_id)
        return run_id


def _ensure_run(client: TrackingClient, experiment: str, name: str, now: datetime, tags: Mapping[str, str]) -> Run:
    identity = {tag: tags[tag] for tag in (FINGERPRINT, ORIGIN)}
    return client.find_run(experiment, identity) or client.create_run(experiment, name, now, tags)


def _scores_by_origin(backtest: RollingBacktest) -> Iterator[dict[str, dict[str, float | None]]]:
    """For each origin the scores by method and metric."""
    by_method = backtest.by_origin()
    for n in range(len(backtest.origins)):
        yield {
            method: {metric: values[n] for metric, values in by_metric.items()}
            for method, by_metric in by_method.items()
        }


def _origin_facts(origin: Origin) -> dict[str, object]:
    return {
        "as_of": origin.as_of.isoformat(),
        "known": origin.known,
        "cutoff": str(origin.cutoff)[:19],
        "num_periods": origin.num_periods,
        "num_series": origin.num_series,
        "num_fallback": origin.num_fallback,
        "epochs": origin.epochs,
    }


def _plan_facts(recipe: Recipe, backtest: RollingBacktest) -> dict[str, object]:
    plan = backtest.plan
    return {
        "architecture": recipe.model.architecture,
        "horizon": recipe.horizon,
        "origins": len(backtest.origins),
        "every": plan.every or recipe.horizon,
        "window": plan.window,
        "history": plan.history,
        "refit": plan.refit,
        "classical": plan.classical,
        "as_of_now": plan.as_of_now,
        "num_series": len(backtest.series),
    }


def _metrics(scores: Mapping[str, Mapping[str, float | None]], timestamp: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [
        Metric(f"{_group(method)}/{metric}", value, timestamp, 0)
        for method, by_metric in scores.items()
        for metric, value in by_metric.items()
        if value is not None
    ]


def _metrics_by_step(backtest: RollingBacktest, timestamp: int) -> list[Metric]:
    """Steps are counted from 1."""
    from mlflow.entities import Metric

    return [
        Metric(f"{_group(method)}/{metric}_by_step", value, timestamp, step)
        for method, by_metric in backtest.by_step().items()
        for metric in _METRICS_BY_STEP
        for step, value in enumerate(by_metric[metric], start=1)
        if value is not None
    ]


def _group(method: str) -> str:
    return "backtest" if method == NETWORK else f"baseline/{method}"


def _params(facts: Mapping[str, object]) -> list[Param]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in facts.items()]
