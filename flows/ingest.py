"""Prefect flow: ingest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from flows.context import open_context
from flows.steps import run_ingest
from flows.tasks import as_task


@flow(name="ingest", flow_run_name="ingest {recipe}", persist_result=False)
def ingest(recipe: str) -> dict[str, Any]:
    """Ingest what the source delivers; returns the fields of an `IngestResult`."""
    with open_context(recipe, as_step=as_task) as context:
        result = run_ingest(context)
        notices = [notice for notice in (result.quarantine, result.on_hold) if notice]
        if notices:
            create_markdown_artifact(
                "\n\n".join(notices),
                key=f"ingest-{context.recipe.name}",
                description=f"rejected rows and held series of {result.source}",
            )
        return asdict(result)
