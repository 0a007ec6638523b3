"""One step for several recipes in one flow, and what stops a flow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import ParameterTypeError

from flows.cycle import cycle
from flows.each_recipe import RecipesFailed, each_recipe
from flows.ingest import ingest
from flows.scheduling import end_if_superseded
from pipeline.errors import InvalidArgument
from tests.support.examples import SMALL_RECIPE, small_csv

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for recipes, and a store beside it."""
    monkeypatch.setenv("NEXTPERIOD_RECIPES", str(tmp_path / "recipes"))
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "recipes").mkdir()
    return tmp_path / "recipes"


def write_recipe(folder: Path, name: str) -> None:
    (folder / f"{name}.toml").write_text(SMALL_RECIPE.format(source="").replace("small", name), "utf-8")
    (folder / f"{name}.csv").write_text(small_csv(), "utf-8")


def test_every_recipe_of_the_folder_is_scored(folder: Path) -> None:
    for name in ("first", "second"):
        write_recipe(folder, name)
        ingest(name)

    assert each_recipe("score", num_jobs=2) == ["first", "second"]


def test_a_recipe_that_fails_keeps_no_other_from_its_step_and_is_named(folder: Path) -> None:
    write_recipe(folder, "whole")
    ingest("whole")
    (folder / "broken.toml").write_text("horizon = ", "utf-8")

    with pytest.raises(RecipesFailed, match=r"^score failed for 1 of 2 recipes: broken: .*broken\.toml"):
        each_recipe("score", recipes=["broken", "whole", "broken"])


def test_a_folder_without_recipes_is_an_error(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="there is no recipe in"):
        each_recipe("score")


def test_what_takes_longer_than_it_may_is_stopped() -> None:
    """In a process of its own, as a run of a deployment: pytest's own alarm would be in the way."""
    slow = "import time; from flows.scheduling import stop_after\nwith stop_after(0.001): time.sleep(300)"

    ended = subprocess.run([sys.executable, "-c", slow], capture_output=True, text=True, timeout=200)

    assert "FlowTimedOut: stopped after 0.001 minutes: " in ended.stderr.splitlines()[-1]


def test_what_ends_in_time_is_not_stopped_later() -> None:
    quick = (
        "import signal; from flows.scheduling import stop_after\n"
        "with stop_after(60): print(signal.getitimer(signal.ITIMER_REAL)[0] > 0)\n"
        "print(signal.getitimer(signal.ITIMER_REAL)[0])"
    )

    ended = subprocess.run([sys.executable, "-c", quick], capture_output=True, text=True, timeout=200)

    assert ended.stdout.split() == ["True", "0.0"]


@pytest.mark.parametrize("wrong", [{"num_jobs": 0}, {"recipes": []}])
def test_wrong_parameters_are_named(folder: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(wrong))):
        each_recipe("score", **wrong)


@pytest.mark.parametrize("minutes", [0, -1])
def test_a_cycle_that_may_take_no_time_is_refused(folder: Path, minutes: float) -> None:
    with pytest.raises(ParameterTypeError, match="timeout_minutes"):
        cycle("any", timeout_minutes=minutes)


def test_a_run_that_a_person_started_is_not_superseded() -> None:
    assert end_if_superseded() is None
