"""Backtests in MLflow: one run each in the recipe's experiment, with a run for each origin below it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.evaluation.rolling_origin import NETWORK, Origin, RollingBacktest
from pipeline.tracking.registry import Registry

#: what tells backtests and their origins apart
FINGERPRINT, ORIGIN = "nextperiod.backtest", "nextperiod.origin"


class BacktestRegistry(Registry):
    """The same registry, for backtests."""

    def log_backtest(self, recipe: Recipe, backtest: RollingBacktest, facts: Mapping[str, Any], now: datetime) -> str:
        """Show a backtest; the same one again is the run that it was.

        Args:
            recipe: whose experiment it is shown in.
            backtest: what was measured.
            facts: what `--json` prints, kept as `backtest.json`.
            now: the clock.

        Returns:
            the id of the MLflow run.

        Raises:
            RegistryUnavailable: MLflow is away.
        """
        with self._reachable():
            experiment = self._experiment(recipe.name)
            tags = {FINGERPRINT: backtest.fingerprint, "nextperiod.recipe_fingerprint": recipe.fingerprint}
            run = self._found_or_new(experiment, {**tags, ORIGIN: "all"}, f"{recipe.name} backtest", now)
            if run.info.status == "FINISHED":
                return str(run.info.run_id)
            run_id, began = str(run.info.run_id), int(run.info.start_time)
            by_origin = backtest.by_origin()
            for n, origin in enumerate(backtest.origins):
                shown = _period(origin)
                below = {**tags, ORIGIN: shown, "nextperiod.known": origin.known, "mlflow.parentRunId": run_id}
                child = self._found_or_new(experiment, below, shown, now)
                scores = {method: _nth(told, n) for method, told in by_origin.items()}
                self._client.log_batch(child.info.run_id, _metrics(scores, began), _parameters(_of_origin(origin)))
                self._client.set_terminated(child.info.run_id)
            by_step = {
                method: {f"{metric}_by_step": told[metric] for metric in _BY_STEP}
                for method, told in backtest.by_step().items()
            }
            metrics = _metrics(backtest.scores(), began) + _metrics_by_step(by_step, began)
            self._client.log_batch(run_id, params=_parameters(_of_plan(recipe, backtest)))
            for first in range(0, len(metrics), _AT_ONCE):
                self._client.log_batch(run_id, metrics[first : first + _AT_ONCE])
            self._client.log_text(run_id, json.dumps(facts, indent=1), "backtest.json")
            self._client.set_terminated(run_id)
            return run_id

    def _found_or_new(self, experiment: str, tags: Mapping[str, str], name: str, now: datetime) -> Any:
        identity = " and ".join(f"tags.`{key}` = '{tags[key]}'" for key in (FINGERPRINT, ORIGIN))
        found = self._client.search_runs([experiment], identity, max_results=1)
        if found:
            return found[0]
        began = int(now.timestamp() * 1000)
        return self._client.create_run(experiment, start_time=began, run_name=name, tags=dict(tags))


#: more metrics are not taken at once
_AT_ONCE = 1000
#: shown for each step
_BY_STEP = ("mase", "wql", "coverage_80", "coverage_95")


def _period(origin: Origin) -> str:
    return str(origin.origin)[:16].removesuffix("T00:00")


def _of_origin(origin: Origin) -> dict[str, object]:
    return {
        "as_of": origin.as_of.isoformat(),
        "known": origin.known,
        "cutoff": str(origin.cutoff)[:19],
        "num_periods": origin.num_periods,
        "num_series": origin.num_series,
        "num_fallback": origin.num_fallback,
        "epochs": origin.epochs,
    }


def _of_plan(recipe: Recipe, backtest: RollingBacktest) -> dict[str, object]:
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


def _nth(told: Mapping[str, list[float | None]], n: int) -> dict[str, float | None]:
    return {metric: values[n] for metric, values in told.items()}


def _metrics(scores: Mapping[str, Mapping[str, float | None]], at: int) -> list[Any]:
    return _metrics_by_step({m: {name: [value] for name, value in told.items()} for m, told in scores.items()}, at, 0)


def _metrics_by_step(scores: Mapping[str, Mapping[str, list[float | None]]], at: int, first: int = 1) -> list[Any]:
    """One time for all, so that logging them again adds nothing."""
    from mlflow.entities import Metric

    return [
        Metric(f"{_group(method)}/{name}", value, at, step)
        for method, told in scores.items()
        for name, values in told.items()
        for step, value in enumerate(values, start=first)
        if value is not None
    ]


def _group(method: str) -> str:
    return "backtest" if method == NETWORK else f"baseline/{method}"


def _parameters(shown: Mapping[str, object]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)) for name, value in shown.items()]
