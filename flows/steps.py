"""The main job: ingest, train if due, forecast, score; MLflow follows."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from flows.opening import Opened
from pipeline import jobs


def carry_out_cycle(at: Opened, *, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """One cycle of an opened recipe; safe to repeat.

    Args:
        at: the recipe, and how its steps are carried out.
        training: retrain, fine-tune or keep, overruling the policy.
        as_of: run it as it would have run then: nothing is ingested, and the run is marked as a backfill.

    Returns:
        what `nextperiod run --json` prints.
    """
    with jobs.attempt(at.recipe, at.store, "run", at.now) as outcome:
        if as_of is None:
            at.carry_out("ingest", jobs.ingest, at.now, must_train=True)
        trained = at.carry_out("train", jobs.train, at.now, asked=training, as_of=as_of)
        published = at.carry_out("forecast", jobs.forecast, at.now, as_of=as_of)
        at.carry_out("score", jobs.score, as_of=as_of)
        at.carry_out("mlflow", jobs.follow, at.registry, at.now)
        outcome.append(published.status)
        return report(at, trained, published)


def report(at: Opened, trained: jobs.Trained, published: jobs.Published) -> dict[str, Any]:
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
