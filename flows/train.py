"""Prefect flow: train if due."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.context import open_context
from flows.steps import run_training_step
from flows.tasks import as_task


@flow(name="train", flow_run_name="train {recipe}", persist_result=False)
def train(recipe: str, training: str | None = None) -> dict[str, Any]:
    """Train if it is due or requested, then update MLflow; returns the fields of a `TrainResult`."""
    with open_context(recipe, as_step=as_task) as context:
        return asdict(run_training_step(context, training=training))
