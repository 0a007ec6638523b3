"""`nextperiod backtest`: the past replayed, beside the baselines."""

from __future__ import annotations

import logging

from flows.opening import opened
from flows.screen import print_json, print_table, progress
from pipeline.backtest_jobs import replay_tutorial
from pipeline.errors import InvalidArgument, known
from pipeline.recipe import Recipe, load_recipe, names_with_tutorial
from pipeline.settings import settings_from
from pipeline.training_record import ReplayRecord

logger = logging.getLogger(__name__)


def backtest_tutorial(name: str, *, as_json: bool) -> None:
    """`nextperiod backtest --protocol tutorial`."""
    recipes = settings_from().recipes
    recipe = load_recipe(name, recipes)
    if recipe.tutorial is None:
        raise InvalidArgument(
            f"recipe {recipe.name} has no [tutorial], whose protocol --protocol tutorial follows: expected one of "
            f"{known(names_with_tutorial(recipes))} (in {recipes}), or a recipe with that table"
        )
    with opened(name) as at, progress():
        logger.debug("the tutorial begins", extra={"step": "TensorFlow starts"})
        record = replay_tutorial(at.recipe, at.store, at.now)
    if as_json:
        print_json({"recipe": recipe.name, "protocol": "tutorial", "metric": "rmse", "lines": _lines(record)})
    else:
        _tell(recipe, record)


def _lines(record: ReplayRecord) -> list[dict[str, object]]:
    return [
        {
            "row": line.row,
            "architecture": line.architecture,
            "layers": line.layers,
            "way": line.protocol,
            "published": line.published,
            "rmse": line.rmse,
            "naive": line.naive,
            "seasonal_naive": line.seasonal_naive,
            "num_test": line.num_test,
        }
        for line in record.lines
    ]


def _tell(recipe: Recipe, record: ReplayRecord) -> None:
    assert recipe.tutorial is not None
    ahead = "each prediction fed back" if recipe.tutorial.recursive else "one period ahead"
    unit = f" in {recipe.unit}" if recipe.unit else ""
    print(": ".join(filter(None, (recipe.name, recipe.description))))
    print(f"the protocol of tutorial {recipe.tutorial.row}: RMSE{unit} on its test part, {ahead}\n")
    rows = [line | {"published": _as_printed(line["published"])} for line in _lines(record)]
    print_table(
        ["row", "architecture", "layers", "way", "published", "rmse", "last value", "season before", "test points"],
        [list(row.values()) for row in rows],
    )


def _as_printed(published: object) -> str:
    """The tutorial's figure with the digits that it has."""
    return "none printed" if published is None else str(published)
