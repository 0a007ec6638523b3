"""Training alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.opening import opened
from flows.support import as_task
from pipeline import jobs
from pipeline.following import follow


@flow(name="train", flow_run_name="train {recipe}", persist_result=False)
def train(recipe: str, training: str | None = None) -> dict[str, Any]:
    """Train if that is due, or as asked for; MLflow follows."""
    with opened(recipe, as_step=as_task) as at, jobs.attempt(at.recipe, at.store, "train", at.clock):
        trained = at.carry_out("train", jobs.train, at.now, asked=training, registry=at.registry)
        at.carry_out("mlflow", follow, at.registry, at.now)
        return asdict(trained)
