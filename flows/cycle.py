"""Prefect flow: one cycle, each step a task, with a table of its forecasts as an artifact."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.context import RunContext, open_context
from flows.steps import run_cycle
from flows.tasks import as_task


@flow(name="cycle", flow_run_name="cycle {recipe}", persist_result=False)
def cycle(recipe: str, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """Run one cycle of a recipe. Safe to repeat.

    Args:
        recipe: name of the recipe, or path to a TOML file.
        training: "retrain", "fine-tune" or "keep"; overrules the policy.
        as_of: run with what was known at this past instant. Nothing is ingested, and the run is marked as a backfill.

    Returns:
        The facts that `nextperiod run --json` prints.
    """
    with open_context(recipe, as_step=as_task) as context:
        facts = run_cycle(context, training=training, as_of=as_of)
        create_markdown_artifact(
            forecast_markdown(context, facts), key=f"forecast-{context.recipe.name}", description=facts["run_id"]
        )
        return facts


def forecast_markdown(context: RunContext, facts: dict[str, Any]) -> str:
    """The latest forecast as a Markdown table of at most 200 rows, with the address of its training in MLflow."""
    rows = [
        f"| {row['series']} | {str(row['period'])[:16]} | {row['mean']:,.4g} | {row['lower_80']:,.4g} | {row['upper_80']:,.4g} |"
        for row in context.store.runs.latest_forecasts(context.recipe.name)[:200]
    ]
    run = facts["mlflow_run_id"]
    training = context.registry.run_address(run) if run else "not in MLflow yet"
    head = f"# {context.recipe.name} after {facts['origin']}\n\n{facts['status']}, model {facts['model_version']} ({facts['reason']}): {training}\n"
    return "\n".join([head, "| series | period | mean | lower 80 | upper 80 |", "|---|---|---:|---:|---:|", *rows])
