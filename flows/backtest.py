"""Prefect flow: compare the model with the baselines at past origins."""

from __future__ import annotations

from typing import Any

from prefect import flow

from flows.context import open_context
from flows.steps import run_backtest
from flows.tasks import as_task
from pipeline.evaluation.rolling_origin import BacktestPlan


@flow(name="backtest", flow_run_name="backtest {recipe}", persist_result=False)
def backtest(recipe: str, num_origins: int | None = None) -> dict[str, Any]:
    """Backtest a recipe at rolling origins and log it in MLflow. Nothing is published.

    Args:
        recipe: name of the recipe, or path to a TOML file.
        num_origins: how many; None: 3, or as many as fit in the history.

    Returns:
        The facts that `nextperiod backtest --json` prints.
    """
    with open_context(recipe, as_step=as_task) as context:
        return run_backtest(context, BacktestPlan(num_origins=num_origins))[1]
