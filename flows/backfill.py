"""Past cycles, in order, each as of its instant."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow

from flows.context import open_context
from flows.cycle_steps import run_backfill
from flows.tasks import as_task


@flow(name="backfill", flow_run_name="backfill {recipe}", persist_result=False)
def backfill(recipe: str, first: datetime, until: datetime) -> list[dict[str, Any]]:
    """The cycles as of the instants at which something new was recorded; resumable.

    Args:
        recipe: its name, or a path to a TOML file.
        first: the first instant that counts.
        until: the first that does not count any more.

    Returns:
        what `nextperiod backfill --json` prints.
    """
    with open_context(recipe, as_step=as_task) as at:
        return list(run_backfill(at, first, until))
