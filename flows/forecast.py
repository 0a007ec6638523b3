"""Forecasting alone, with the champion."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow

from flows.opening import opened
from flows.support import as_task
from pipeline import jobs


@flow(name="forecast", flow_run_name="forecast {recipe}", persist_result=False)
def forecast(recipe: str) -> dict[str, Any]:
    """Forecast the next periods and publish them."""
    with opened(recipe, as_step=as_task) as at, jobs.attempt(at.recipe, at.store, "forecast", at.clock) as outcome:
        published = at.carry_out("forecast", jobs.forecast, at.now)
        outcome.append(published.status)
        return asdict(published)
