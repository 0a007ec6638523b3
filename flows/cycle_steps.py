"""A cycle and its single steps, each recorded as an attempt and retried; the same for past instants."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flows.context import RunContext
from pipeline.errors import NoObservations, Permanent, is_refusal
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.forecast import PublishResult, publish_forecast
from pipeline.jobs.ingest import IngestResult, approve_batch, ingest_source
from pipeline.jobs.sample_paths import Drawn, sample_paths
from pipeline.jobs.score import score_forecasts
from pipeline.jobs.sync_mlflow import sync_mlflow
from pipeline.jobs.train import TrainResult, train_model

logger = logging.getLogger(__name__)


def run_cycle(at: RunContext, *, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """One cycle of an opened recipe; safe to repeat.

    Args:
        at: the recipe, and how its steps are carried out.
        training: retrain, fine-tune or keep, overruling the policy.
        as_of: run it as it would have run then: nothing is ingested, and the run is marked as a backfill.

    Returns:
        what `nextperiod run --json` prints.
    """
    with record_attempt(at.recipe, at.store, "run", at.clock) as outcome:
        if as_of is None:
            at.carry_out("ingest", ingest_source, at.now, must_train=True)
        at.carry_out("score", score_forecasts, as_of=as_of)
        trained = at.carry_out("train", train_model, at.now, asked=training, as_of=as_of, registry=at.registry)
        published = at.carry_out("forecast", publish_forecast, at.now, as_of=as_of)
        at.carry_out("score", score_forecasts, as_of=as_of)  # where what is forecast is observed already
        at.carry_out("mlflow", sync_mlflow, at.registry, at.now)
        outcome.append(published.status)
        return report(at, trained, published)


def run_ingest(at: RunContext, *, approve: bool = False) -> IngestResult:
    """Ingest alone, or accept the batch on hold."""
    with record_attempt(at.recipe, at.store, "ingest", at.clock):
        ingested: IngestResult = at.carry_out("ingest", approve_batch if approve else ingest_source, at.now)
        return ingested


def run_training_step(at: RunContext, *, training: str | None = None) -> TrainResult:
    """Train alone, if that is due or as asked for; MLflow follows."""
    with record_attempt(at.recipe, at.store, "train", at.clock):
        trained: TrainResult = at.carry_out("train", train_model, at.now, asked=training, registry=at.registry)
        at.carry_out("mlflow", sync_mlflow, at.registry, at.now)
        return trained


def run_forecast(at: RunContext) -> PublishResult:
    """Forecast alone, with the champion."""
    with record_attempt(at.recipe, at.store, "forecast", at.clock) as outcome:
        published: PublishResult = at.carry_out("forecast", publish_forecast, at.now)
        outcome.append(published.status)
        return published


def run_sample_paths(at: RunContext, *, num_paths: int, parquet: Path, seed: int | None) -> tuple[PublishResult, Drawn]:
    """Forecast alone, and draw sample paths of what is published."""
    with record_attempt(at.recipe, at.store, "forecast", at.clock) as outcome:
        published: PublishResult = at.carry_out("forecast", publish_forecast, at.now)
        drawn: Drawn = at.carry_out(
            "drawing paths", sample_paths, published.run_id, num_paths=num_paths, parquet=parquet, seed=seed
        )
        outcome.append("done" if (published.status, drawn.status) == ("unchanged", "written") else published.status)
        return published, drawn


def run_scoring(at: RunContext) -> int:
    """Score alone; how many published steps."""
    with record_attempt(at.recipe, at.store, "score", at.clock):
        return int(at.carry_out("score", score_forecasts))


def run_backfill(at: RunContext, first: datetime, until: datetime) -> Iterator[dict[str, Any]]:
    """The past cycles of an opened recipe, in order, each as of an instant at which something new was recorded.

    What is published as of an instant stays: begun again after it was interrupted, it ends in the same.

    Args:
        at: the recipe, and how its steps are carried out.
        first: the first instant that counts.
        until: the first that does not count any more.

    Returns:
        of each cycle, when it is done, what `nextperiod run --json` prints; of one that could not be carried out
        the recipe, the instant, "refused" or "failed", and the reason.

    Raises:
        NoObservations: nothing was recorded then.
        Transient: something that is needed is away: to be begun again.
    """
    for as_of in _instants(at, first, until):
        spent = at.sql
        cycle = replace(at, now=at.clock(), seconds={})
        try:
            facts = run_cycle(cycle, as_of=as_of)
        except Permanent as error:
            status = "refused" if is_refusal(error) else "failed"
            yield {"recipe": at.recipe.name, "as_of": as_of.isoformat(), "status": status, "reason": str(error)}
        else:
            yield facts | {"seconds": cycle.seconds | {"sql": round(at.sql - spent, 3)}}


def _instants(at: RunContext, first: datetime, until: datetime) -> list[datetime]:
    """When something new was recorded in between; what an as-of cannot give is said."""
    name, known = at.recipe.name, at.store.instants(at.recipe.name)
    if not known:
        raise NoObservations(f"there are no observations of {name}: run `nextperiod ingest {name}`")
    began, ended = known[0].isoformat(), known[-1].isoformat()
    chosen = [instant for instant in known if first <= instant < until]
    at_once = (
        f"all that is known of {name} was recorded at once, at {began}: as of an earlier instant nothing was known"
    )
    if not chosen and len(known) == 1:
        raise NoObservations(f"{at_once}; there is no past cycle from {first.isoformat()} to {until.isoformat()}")
    if not chosen:
        raise NoObservations(
            f"nothing new was recorded of {name} from {first.isoformat()} to {until.isoformat()}: expected instants "
            f"from {began} to {ended}"
        )
    if len(known) == 1:
        logger.warning("%s: there is one cycle", at_once)
    elif first < known[0]:
        logger.warning("nothing was known of %s before %s: the cycles begin there", name, began)
    return chosen


def report(at: RunContext, trained: TrainResult, published: PublishResult) -> dict[str, Any]:
    """The cycle's facts under the names that `run --json` promises; the seconds of SQL are part of the steps'."""
    model = at.store.model(at.recipe.name, published.model_version)
    return {
        "recipe": at.recipe.name,
        **{key: value for key, value in asdict(published).items() if key != "num_fallback"},
        "training": trained.training,
        "reason": trained.reason,
        "skill": model.skill if model else None,
        "mlflow_run_id": model.mlflow_run_id if model else None,
        "seconds": {**at.seconds, "sql": at.sql},
    }
