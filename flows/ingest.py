"""Ingest alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.opening import opened
from flows.support import as_task
from pipeline import jobs


@flow(name="ingest", flow_run_name="ingest {recipe}", persist_result=False)
def ingest(recipe: str) -> dict[str, Any]:
    """Take in what the recipe's source has."""
    with opened(recipe, as_step=as_task) as at, jobs.attempt(at.recipe, at.store, "ingest", at.clock):
        return asdict(at.carry_out("ingest", jobs.ingest, at.now))
