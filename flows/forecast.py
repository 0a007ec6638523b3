"""Prefect flow: forecast with the champion and publish."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.context import open_context
from flows.steps import run_forecast
from flows.tasks import as_task


@flow(name="forecast", flow_run_name="forecast {recipe}", persist_result=False)
def forecast(recipe: str) -> dict[str, Any]:
    """Forecast the next periods and publish them; returns the fields of a `PublishResult`."""
    with open_context(recipe, as_step=as_task) as context:
        return asdict(run_forecast(context))
