"""The cycle as a Prefect flow: its steps are tasks, and a table of its forecasts is left as an artifact."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.context import RunContext, open_context
from flows.cycle_steps import run_cycle
from flows.tasks import as_task


@flow(name="cycle", flow_run_name="cycle {recipe}", persist_result=False)
def cycle(recipe: str, training: str | None = None, as_of: datetime | None = None) -> dict[str, Any]:
    """One cycle of a recipe; safe to repeat.

    Args:
        recipe: its name, or a path to a TOML file.
        training: retrain, fine-tune or keep, overruling the policy.
        as_of: run it as it would have run then: nothing is ingested, and the run is marked as a backfill.

    Returns:
        what `nextperiod run --json` prints.
    """
    with open_context(recipe, as_step=as_task) as at:
        facts = run_cycle(at, training=training, as_of=as_of)
        create_markdown_artifact(markdown(at, facts), key=f"forecast-{at.recipe.name}", description=facts["run_id"])
        return facts


def markdown(at: RunContext, facts: dict[str, Any]) -> str:
    """The forecast as a table, with where MLflow shows the training."""
    rows = [
        f"| {row['series']} | {str(row['period'])[:16]} | {row['mean']:,.4g} | {row['lower_80']:,.4g} | {row['upper_80']:,.4g} |"
        for row in at.store.latest_forecasts(at.recipe.name)[:200]
    ]
    run = facts["mlflow_run_id"]
    training = at.registry.run_address(run) if run else "MLflow has not followed yet"
    head = f"# {at.recipe.name} after {facts['origin']}\n\n{facts['status']}, model {facts['model_version']} ({facts['reason']}): {training}\n"
    return "\n".join([head, "| series | period | mean | lower 80 | upper 80 |", "|---|---|---:|---:|---:|", *rows])
