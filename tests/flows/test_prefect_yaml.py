from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from pipeline.config.loader import load_recipe, recipe_names

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
RECIPES = DEPLOYMENTS / "recipes"
ALL_BLOCKS: list[dict[str, Any]] = yaml.safe_load((DEPLOYMENTS / "prefect.yaml").read_text("utf-8"))["deployments"]
WATCH, SCORE, BACKTEST, *BLOCKS = ALL_BLOCKS


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["name"])
def test_a_block_names_a_known_recipe(block: dict[str, Any]) -> None:
    recipe = load_recipe(block["parameters"]["recipe"], RECIPES)

    assert block["name"] == recipe.name


def test_every_recipe_has_one_block() -> None:
    assert sorted(block["name"] for block in BLOCKS) == recipe_names(RECIPES)


def test_one_block_looks_at_all_recipes() -> None:
    assert WATCH["entrypoint"] == "flows.watch.watch"
    assert "parameters" not in WATCH
    assert WATCH["work_pool"] == BLOCKS[0]["work_pool"]


@pytest.mark.parametrize(("block", "step"), [(SCORE, "score"), (BACKTEST, "backtest")])
def test_one_block_does_a_step_for_all_recipes(block: dict[str, Any], step: str) -> None:
    assert block["entrypoint"] == "flows.each_recipe.each_recipe"
    assert block["parameters"] == {"step": step}
    assert block["work_pool"] == BLOCKS[0]["work_pool"]


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=lambda block: block["name"])
def test_a_block_can_be_found_by_the_automations(block: dict[str, Any]) -> None:
    assert "nextperiod" in block["tags"]


@pytest.mark.parametrize("block", ALL_BLOCKS, ids=lambda block: block["name"])
def test_a_block_has_schedules_in_a_named_zone(block: dict[str, Any]) -> None:
    assert block["schedules"], "a deployment that is never due"
    for schedule in block["schedules"]:
        assert ZoneInfo(schedule["timezone"]).key == schedule["timezone"]
        assert len(schedule["cron"].split()) == 5


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["name"])
def test_a_block_runs_one_cycle_at_a_time(block: dict[str, Any]) -> None:
    assert block["concurrency_limit"]["limit"] == 1
    assert block["work_pool"]["name"] == "forecasting"
    assert block["entrypoint"] == "flows.cycle.cycle"
    recipe = load_recipe(block["parameters"]["recipe"], RECIPES)
    assert block["parameters"]["timeout_minutes"] > 2 * recipe.training.time_limit_minutes
