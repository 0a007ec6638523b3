"""Prefect flow: one cycle, each step a task, with a table of its forecasts as an artifact."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import numpy as np
from prefect import State, flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.context import RunContext, open_context
from flows.forecast_table import (
    NUMBER_COLUMNS,
    ForecastTable,
    describe_picture,
    draw_forecast,
    read_forecast_table,
)
from flows.scheduling import end_if_superseded, stop_after
from flows.steps import run_cycle
from flows.tasks import as_task
from pipeline.jobs.inputs import LATEST
from pipeline.text import one_line


@flow(name="cycle", flow_run_name="cycle {recipe}", persist_result=False)
def cycle(
    recipe: str,
    training: str | None = None,
    as_of: datetime | None = None,
    timeout_minutes: Annotated[float, Field(gt=0)] | None = None,
) -> dict[str, Any] | State[Any]:
    """Run one cycle of a recipe. Safe to repeat. Of several late runs the newest one alone does so.

    Args:
        recipe: name of the recipe, or path to a TOML file.
        training: "retrain", "fine-tune" or "keep"; overrules the policy.
        as_of: run with what was known at this past instant. Nothing is ingested, and the run is marked as a backfill.
        timeout_minutes: a cycle that takes longer is stopped.

    Returns:
        The facts that `nextperiod run --json` prints; the state of a run that was superseded.
    """
    if (superseded := end_if_superseded()) is not None:
        return superseded
    with stop_after(timeout_minutes), open_context(recipe, as_step=as_task) as context:
        facts = run_cycle(context, training=training, as_of=as_of)
        create_markdown_artifact(
            forecast_markdown(context, facts), key=f"forecast-{context.recipe.name}", description=facts["run_id"]
        )
        return facts


def forecast_markdown(context: RunContext, facts: dict[str, Any]) -> str:
    """The latest forecast as a picture and a table in Markdown, with the address of its training in MLflow.

    The picture shows the first series. All rows of a single series, the first of several; below the table how many there are beside these.
    """
    recipe = context.recipe
    run, version = facts["mlflow_run_id"], facts["model_version"]
    training = context.registry.run_address(run) if run else "not in MLflow yet"
    model = "baselines" if version is None else f"model {version}"
    origin = recipe.labels.text(np.datetime64(facts["origin"], "us"))
    head = [
        f"# {recipe.name} after {origin}",
        f"{facts['status']}, {model} ({facts['reason']})" + ("" if version is None else f": {training}"),
        *(_cell(facts[key]) for key in ("quarantine", "on_hold") if facts[key]),
    ]
    table = read_forecast_table(recipe, context.store, with_series=True)
    if table is None:
        return "\n\n".join(head)
    return "\n\n".join([*head, *_picture(context, table, facts["num_series"]), *_markdown(table)])


def _picture(context: RunContext, table: ForecastTable, num_series: int) -> list[str]:
    """The first series as a picture with a caption; the history of one of many is not read for it."""
    rows = [row for row in table.shown if row["series"] == table.shown[0]["series"]]
    history = np.empty(0)
    panel = context.store.observations.panel(context.recipe, LATEST) if num_series == 1 else None
    if panel is not None:
        history = panel.series_values(panel.series.index(rows[0]["series"]))
    return [draw_forecast(rows, history), _cell(describe_picture(rows, history, context.recipe.unit or None))]


def _markdown(table: ForecastTable) -> list[str]:
    """A table and the notes below it, as paragraphs of Markdown."""
    rules = ["---:" if column in NUMBER_COLUMNS else "---" for column in table.columns]
    lines = [table.columns, rules, *table.rows]
    return ["\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines), *map(_cell, table.notes)]


def _cell(text: str) -> str:
    """Text on one line that ends no cell and begins no tag."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")
