"""A cycle, its single steps and past cycles: each is recorded as an attempt, and its jobs are retried."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.alerts import try_to_send_alerts
from flows.context import RunContext
from pipeline.errors import NoObservations, Permanent, RegistryRefused, RegistryUnavailable, is_refusal
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.deliver_outbox import deliver_outbox
from pipeline.jobs.forecast import PublishResult, publish_forecast
from pipeline.jobs.ingest import IngestResult, approve_batch, ingest_source, reject_batch, withdraw_batch
from pipeline.jobs.reset import ResetResult, reset_recipe
from pipeline.jobs.score import score_forecasts
from pipeline.jobs.train import TrainResult, train_model

if TYPE_CHECKING:
    from pipeline.evaluation.rolling_origin import BacktestPlan, RollingBacktest
    from pipeline.jobs.sample_paths import SamplePathsResult

logger = logging.getLogger(__name__)


def run_cycle(context: RunContext, *, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """Run one cycle of an opened recipe. Safe to repeat.

    Args:
        context: the recipe, its store, and how its steps run.
        training: "retrain", "fine-tune" or "keep"; overrules the policy.
        as_of: run with what was known at this past instant. Nothing is ingested, and the run is marked as a backfill.

    Returns:
        The facts that `nextperiod run --json` prints.
    """
    try:
        with record_attempt(context.recipe, context.store, "run", context.clock) as outcome:
            ingested = IngestResult(source="")
            if as_of is None:
                ingested = context.run_step("ingest", ingest_source, context.now)
            context.run_step("score", score_forecasts, as_of=as_of)
            trained = context.run_step(
                "train", train_model, context.now, requested=training, as_of=as_of, registry=context.registry
            )
            published = context.run_step("forecast", publish_forecast, context.now, as_of=as_of)
            context.run_step("score", score_forecasts, as_of=as_of)  # a forecast period may be observed already
            context.run_step("mlflow", deliver_outbox, context.registry, context.now)
            outcome.append(published.status)
            return cycle_facts(context, ingested, trained, published)
    finally:
        if as_of is None:
            try_to_send_alerts(context.store, context.recipe.name)


def run_ingest(
    context: RunContext, *, approve: bool = False, reject: bool = False, withdraw: int | None = None
) -> IngestResult:
    """Ingest only; or accept or reject the batch on hold, or withdraw an accepted batch by its number."""
    with record_attempt(context.recipe, context.store, "ingest", context.clock):
        ingested: IngestResult
        if withdraw is not None:
            ingested = context.run_step("ingest", withdraw_batch, context.now, batch_id=withdraw)
        else:
            job = approve_batch if approve else reject_batch if reject else ingest_source
            ingested = context.run_step("ingest", job, context.now)
        return ingested


def run_reset(context: RunContext) -> ResetResult:
    """Start the recipe's history again."""
    with record_attempt(context.recipe, context.store, "reset", context.clock):
        result: ResetResult = context.run_step("reset", reset_recipe, context.now)
        return result


def run_training_step(context: RunContext, *, training: str | None = None) -> TrainResult:
    """Train only, if it is due or requested; then update MLflow."""
    with record_attempt(context.recipe, context.store, "train", context.clock):
        trained: TrainResult = context.run_step(
            "train", train_model, context.now, requested=training, registry=context.registry
        )
        context.run_step("mlflow", deliver_outbox, context.registry, context.now)
        return trained


def run_forecast(context: RunContext) -> PublishResult:
    """Forecast only, with the champion, and publish."""
    with record_attempt(context.recipe, context.store, "forecast", context.clock) as outcome:
        published: PublishResult = context.run_step("forecast", publish_forecast, context.now)
        outcome.append(published.status)
        return published


def run_sample_paths(
    context: RunContext, *, num_paths: int, parquet: Path, seed: int | None
) -> tuple[PublishResult, SamplePathsResult]:
    """Forecast only, publish, and draw sample paths of the published run."""
    from pipeline.jobs.sample_paths import sample_paths  # imports SciPy and Parquet, which a cycle does not need

    with record_attempt(context.recipe, context.store, "forecast", context.clock) as outcome:
        published: PublishResult = context.run_step("forecast", publish_forecast, context.now)
        drawn: SamplePathsResult = context.run_step(
            "drawing paths", sample_paths, published.run_id, num_paths=num_paths, parquet=parquet, seed=seed
        )
        outcome.append("done" if (published.status, drawn.status) == ("unchanged", "written") else published.status)
        return published, drawn


def run_scoring(context: RunContext) -> int:
    """Score only; returns the number of forecast steps that were scored."""
    with record_attempt(context.recipe, context.store, "score", context.clock):
        return int(context.run_step("score", score_forecasts))


def run_backtest(context: RunContext, plan: BacktestPlan) -> tuple[RollingBacktest, dict[str, Any]]:
    """Backtest at past origins and log it in MLflow; nothing is published.

    Returns:
        The scores, and the facts that `nextperiod backtest --json` prints.
    """
    from pipeline.jobs.backtest import backtest, describe_backtest  # imports what a cycle does not need
    from pipeline.tracking.backtests import log_backtest

    result: RollingBacktest = context.run_step("backtest", backtest, context.clock, plan)
    facts = describe_backtest(context.recipe, result)
    logger.debug("logging to MLflow", extra={"step": "logging to MLflow"})
    try:
        facts["mlflow_run_id"] = log_backtest(context.registry.client, context.recipe, result, facts, context.now)
    except (RegistryUnavailable, RegistryRefused) as error:
        logger.warning("%s; this backtest is not logged", error)
        facts["mlflow_run_id"] = None
    return result, facts


def run_backfill(context: RunContext, first: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """Run the past cycles of an opened recipe, in order, each as of an instant at which new data was recorded.

    A published backfill stays. An interrupted call can be repeated and ends in the same state.

    Args:
        context: the recipe, its store, and how its steps run.
        first: start of the range, inclusive.
        until: end of the range, exclusive.

    Yields:
        For each finished cycle, the facts that `nextperiod run --json` prints. For a cycle that ended with an error:
        the recipe, the instant, the status "refused" or "failed", and the reason.

    Raises:
        NoObservations: no data was recorded in the range.
        Transient: a source, the database or the registry is away; repeat the call later.
    """
    for as_of in _past_instants(context, first, until):
        sql_seconds_before = context.sql_seconds
        cycle = replace(context, now=context.clock(), seconds={})
        try:
            facts = run_cycle(cycle, as_of=as_of)
        except Permanent as error:
            status = "refused" if is_refusal(error) else "failed"
            yield {"recipe": context.recipe.name, "as_of": as_of.isoformat(), "status": status, "reason": str(error)}
        else:
            yield facts | {"seconds": cycle.seconds | {"sql": round(context.sql_seconds - sql_seconds_before, 3)}}


def _past_instants(context: RunContext, first: datetime, until: datetime) -> list[datetime]:
    """The instants in [first, until) at which new data was recorded; warns where the range begins too early."""
    name, instants = context.recipe.name, context.store.batches.known_instants(context.recipe.name)
    if not instants:
        raise NoObservations(f"there are no observations of {name}: run `nextperiod ingest {name}`")
    chosen = [instant for instant in instants if first <= instant < until]
    if not chosen:
        raise NoObservations(_nothing_to_backfill(name, instants, first, until))
    if len(instants) == 1:
        logger.warning("%s received all its data at once, at %s: there is one cycle", name, instants[0].isoformat())
    elif first < instants[0]:
        logger.warning("%s has data only since %s: the cycles begin there", name, instants[0].isoformat())
    return chosen


def _nothing_to_backfill(name: str, instants: list[datetime], first: datetime, until: datetime) -> str:
    """Why [first, until) holds no past cycle."""
    oldest, newest = instants[0].isoformat(), instants[-1].isoformat()
    received = f"from {first.isoformat()} to {until.isoformat()}"
    if until <= instants[0]:
        return f"{name} has data only since {oldest}; there is nothing to backfill before; received {received}"
    return f"{name} received no new data {received}: expected a range that holds an instant from {oldest} to {newest}"


def cycle_facts(
    context: RunContext, ingested: IngestResult, trained: TrainResult, published: PublishResult
) -> dict[str, Any]:
    """The facts of a cycle under the keys of `run --json`; the seconds of `sql` are contained in those of the steps."""
    version = published.model_version
    model = None if version is None else context.store.models.by_version(context.recipe.name, version)
    return {
        "recipe": context.recipe.name,
        **{key: value for key, value in asdict(published).items() if key != "num_fallback"},
        "num_rejected": ingested.num_rejected,
        "quarantine": ingested.quarantine,
        "on_hold": ingested.on_hold,
        "training": trained.training,
        "reason": trained.reason,
        "skill": model.skill if model else None,
        "mlflow_run_id": model.mlflow_run_id if model else None,
        "seconds": {**context.seconds, "sql": context.sql_seconds},
    }
