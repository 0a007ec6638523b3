"""Prefect flow: past cycles in order, each as of its instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow

from flows.context import open_context
from flows.steps import run_backfill
from flows.tasks import as_task


@flow(name="backfill", flow_run_name="backfill {recipe}", persist_result=False)
def backfill(recipe: str, first: datetime, until: datetime) -> list[dict[str, Any]]:
    """Run the cycles as of the instants at which new data was recorded. Resumable.

    Args:
        recipe: name of the recipe, or path to a TOML file.
        first: start of the range, inclusive.
        until: end of the range, exclusive.

    Returns:
        The facts that `nextperiod backfill --json` prints.
    """
    with open_context(recipe, as_step=as_task) as context:
        return list(run_backfill(context, first, until))
