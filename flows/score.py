"""Prefect flow: score published forecasts."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.context import open_context
from flows.steps import run_scoring
from flows.tasks import as_task


@flow(name="score", flow_run_name="score {recipe}", persist_result=False)
def score(recipe: str) -> dict[str, Any]:
    """Score published forecasts against the observations that arrived since."""
    with open_context(recipe, as_step=as_task) as context:
        return {"recipe": context.recipe.name, "num_scored": run_scoring(context)}
