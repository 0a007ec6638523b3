"""Training alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.context import opened
from flows.cycle_steps import carry_out_training
from flows.tasks import as_task


@flow(name="train", flow_run_name="train {recipe}", persist_result=False)
def train(recipe: str, training: str | None = None) -> dict[str, Any]:
    """Train if that is due, or as asked for; MLflow follows."""
    with opened(recipe, as_step=as_task) as at:
        return asdict(carry_out_training(at, training=training))
