"""Prefect flow: one step for each of several recipes, in one deployment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Annotated, Any, Literal

from prefect import State, flow
from pydantic import Field

from flows.backtest import backtest
from flows.cycle import cycle
from flows.run_log import set_up_run_log
from flows.scheduling import end_if_superseded
from flows.score import score
from pipeline.config.loader import recipe_names
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidArgument, Permanent
from pipeline.text import counted

set_up_run_log()

_FLOWS: dict[str, Callable[..., State[Any]]] = {"cycle": cycle, "score": score, "backtest": backtest}


class RecipesFailed(Permanent):
    """The step failed for some recipes; it was done for all others."""


@flow(name="each-recipe", flow_run_name="{step} of each recipe", persist_result=False)
def each_recipe(
    step: Literal["cycle", "score", "backtest"],
    recipes: Annotated[list[str], Field(min_length=1)] | None = None,
    num_jobs: Annotated[int, Field(ge=1)] = 1,
) -> list[str] | State[Any]:
    """Run a step for each recipe, as a flow of its own. One that fails does not keep the others from running.

    Args:
        step: "cycle", "score" or "backtest".
        recipes: names; None: all in `NEXTPERIOD_RECIPES`.
        num_jobs: how many recipes at a time; each trains in one process at most.

    Returns:
        The names of the recipes; the state of a run that was superseded.

    Raises:
        RecipesFailed: the step failed for some; with the message of each.
        InvalidArgument: there is no recipe.
    """
    if (superseded := end_if_superseded()) is not None:
        return superseded
    folder = read_settings().recipes
    names = recipe_names(folder) if recipes is None else list(dict.fromkeys(recipes))
    if not names:
        raise InvalidArgument(f"there is no recipe in {folder}: expected *.toml; set NEXTPERIOD_RECIPES")
    with ThreadPoolExecutor(num_jobs) as pool:
        runs = [pool.submit(copy_context().run, _FLOWS[step], name, return_state=True) for name in names]
        states = dict(zip(names, (run.result() for run in runs), strict=True))
    failed = {name: state for name, state in states.items() if not state.is_completed()}
    if failed:
        reasons = "; ".join(f"{name}: {state.message}" for name, state in failed.items())
        raise RecipesFailed(f"{step} failed for {len(failed)} of {counted(len(names), 'recipe')}: {reasons}")
    return names
