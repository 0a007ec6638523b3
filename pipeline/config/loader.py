"""A recipe's TOML file: found by its name, read, and refused with the key at fault."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.recipe import (
    GLOBAL,
    GLOBAL_TRAINING,
    BacktestSettings,
    CovariateSettings,
    GateSettings,
    ModelSettings,
    PublishSettings,
    Recipe,
    TrainingSettings,
)
from pipeline.config.sources import source_table
from pipeline.config.tutorial import Tutorial
from pipeline.errors import InvalidRecipe
from pipeline.text import list_names


def parse_recipe(text: str, *, where: str, folder: Path) -> Recipe:
    """The recipe in `text`, a TOML document.

    Raises:
        InvalidRecipe: it is no TOML, or not a recipe; the message names the key and what was expected.
    """
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(text)
        recipe = Recipe.model_validate(document)
        _refuse_contradictions(recipe)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(f"{where} is not valid TOML: {error}") from None
    except ValidationError as error:
        raise InvalidRecipe(f"{where}: {_first_fault(error, document)}") from None
    except InvalidRecipe as error:
        raise InvalidRecipe(f"{where}: {error}") from None
    return recipe.with_folder(folder)


def _refuse_contradictions(recipe: Recipe) -> None:
    """What no key is wrong about alone."""
    if recipe.calendar and recipe.grid.alias not in ("B", "D"):
        raise InvalidRecipe(
            f'frequency is "{recipe.frequency}", but the sessions of {recipe.calendar} are days: expected "B" or "D"'
        )
    if {"clip_norm", "clip_value"} <= recipe.training.model_fields_set and recipe.training.clip_norm is not None:
        raise InvalidRecipe("training.clip_norm and training.clip_value are both set: expected one of them")
    lag = recipe.season if recipe.model.scaling == "seasonal" else 1
    if (
        recipe.model.architecture != GLOBAL
        and recipe.model.scaling in ("seasonal", "last", "log")
        and recipe.context <= lag
    ):
        raise InvalidRecipe(
            f'model.context is {recipe.context}, but scaling "{recipe.model.scaling}" compares with {lag} periods before: '
            f"expected more than {lag}" + (', or scaling "last"' if lag > 1 else "")
        )
    low, high = recipe.publish.minimum, recipe.publish.maximum
    if low is not None and high is not None and low > high:
        raise InvalidRecipe(f"publish.minimum {low:g} is above publish.maximum {high:g}")
    if recipe.model.architecture == GLOBAL:
        _refuse_what_global_chooses(recipe)
    if recipe.model.architecture == "gated-cell" and (
        recipe.model.activation != "tanh" or recipe.model.recurrent_dropout
    ):
        key = "recurrent_dropout" if recipe.model.recurrent_dropout else "activation"
        raise InvalidRecipe(
            f'model.{key} is for the other architectures: the gates of "gated-cell" are written out with tanh'
        )
    if recipe.model.architecture == "attention" and recipe.context < 2:
        raise InvalidRecipe("model.context is 1, and attention chooses among the steps of it: expected at least 2")
    if recipe.tutorial is not None:
        _refuse_untaught(recipe.tutorial)
    if recipe.source.layout == "wide" and recipe.covariates.names:
        raise InvalidRecipe('covariates are columns of a long table: expected source.layout = "long"')
    taken = {recipe.source.period, recipe.source.value, recipe.source.series, recipe.source.fold}
    if len(set(recipe.covariates.names) - taken) < len(recipe.covariates.names):
        raise InvalidRecipe("a covariate names a column that is something else already: expected different ones")


def _refuse_untaught(tutorial: Tutorial) -> None:
    if tutorial.architecture == GLOBAL:
        raise InvalidRecipe('tutorial.architecture is "global", which is no tutorial\'s: expected another one')
    for row, architectures in tutorial.variants.items():
        if GLOBAL in architectures:
            raise InvalidRecipe(f'tutorial.variants.{row} is "global", which is no tutorial\'s: expected another one')
    used = {tutorial.architecture, *chain(*tutorial.variants.values())}
    if "gated-cell" in used and tutorial.activation != "tanh":
        raise InvalidRecipe(
            f'tutorial.activation is "{tutorial.activation}", but the gates of "gated-cell" are written out with tanh'
        )
    if 1 <= tutorial.train <= tutorial.context:
        raise InvalidRecipe(
            f"tutorial.train is {tutorial.train:g}: expected more than tutorial.context = {tutorial.context}"
        )


def _refuse_what_global_chooses(recipe: Recipe) -> None:
    for name, table, own in (
        ("model", recipe.model, {"architecture", "units"}),
        ("training", recipe.training, GLOBAL_TRAINING),
    ):
        for key in type(table).model_fields:
            if key in table.model_fields_set - own:
                raise InvalidRecipe(
                    f'{name}.{key} is for the other architectures: "global" chooses it by the season, the horizon and '
                    "the lengths of the series; leave it out"
                )


def load_recipe(name_or_path: str, recipes: Path) -> Recipe:
    """The recipe of that name in the folder `recipes`, or in that TOML file.

    Raises:
        InvalidRecipe: there is none, or it is not valid.
    """
    path = Path(name_or_path) if name_or_path.endswith(".toml") else recipes / f"{name_or_path}.toml"
    if not path.is_file():
        raise InvalidRecipe(
            f'recipe "{name_or_path}" is not known: expected one of {list_names(recipe_names(recipes))} (in {recipes}), or a path to a TOML file'
        )
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecipe(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    return parse_recipe(text, where=str(path), folder=path.parent)


def recipe_names(recipes: Path) -> list[str]:
    """The names of the recipes in a folder, sorted."""
    return sorted(path.stem for path in recipes.glob("*.toml"))


def names_with_tutorial(recipes: Path) -> list[str]:
    """Those of the recipes in a folder that are valid and have a `[tutorial]`, sorted."""
    names = []
    for name in recipe_names(recipes):
        with suppress(InvalidRecipe):
            if load_recipe(name, recipes).tutorial is not None:
                names.append(name)
    return names


#: kinds of fault that are said in our own words
_OWN_WORDS = ("missing_kind", "unknown_kind", "contradiction")


def _first_fault(error: ValidationError, document: dict[str, Any]) -> str:
    """What is wrong first, in words: unknown keys list the known ones."""
    faults = error.errors()
    fault = next((one for one in faults if one["type"] == "extra_forbidden"), faults[0])
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in _OWN_WORDS:
        return fault["msg"]
    if fault["type"] == "extra_forbidden":
        return f'unknown key "{key}": expected one of {list_names(_keys_beside(fault["loc"], document))}'
    if fault["type"] == "missing":
        return f'the key "{key}" is missing'
    received = "" if isinstance(fault["input"], dict) else f", received {fault['input']!r}"
    return f'"{key}": {fault["msg"]}{received}'


def _keys_beside(loc: tuple[int | str, ...], document: dict[str, Any]) -> list[str]:
    if len(loc) == 1:
        return list(Recipe.model_fields)
    table = source_table(document["source"]["kind"]) if loc[0] == "source" else _TABLES[str(loc[0])]
    return list(table.model_fields)


_TABLES: dict[str, type[BaseModel]] = {
    "covariates": CovariateSettings,
    "model": ModelSettings,
    "training": TrainingSettings,
    "backtest": BacktestSettings,
    "gate": GateSettings,
    "publish": PublishSettings,
    "tutorial": Tutorial,
}
