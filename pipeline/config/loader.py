"""Find a recipe's TOML file by name, read it and check it; a message names the key at fault."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.config.recipe import (
    BacktestSettings,
    CovariateSettings,
    GateSettings,
    ModelSettings,
    PublishSettings,
    Recipe,
    TrainingSettings,
)
from pipeline.config.sources import NEW_RECIPE, source_table
from pipeline.config.tutorial import Tutorial
from pipeline.errors import InvalidRecipe
from pipeline.text import list_names


def parse_recipe(text: str, *, where: str, folder: Path) -> Recipe:
    """Return the recipe in a TOML document.

    Args:
        text: the document.
        where: the name of the document in messages.
        folder: the folder that paths in the recipe are relative to.

    Raises:
        InvalidRecipe: it is no TOML or no valid recipe; the message names the key and what was expected.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(f"{where} is not valid TOML: {error}") from None
    return validate_recipe(document, where=where).with_folder(folder)


def validate_recipe(fields: dict[str, Any], *, where: str) -> Recipe:
    """Return the recipe with these keys, checked as a new one: contradictions between keys are refused too.

    `fields["source"]` may be a `Source` that was built in Python, such as a `FrameSource`, in place of a table.

    Raises:
        InvalidRecipe: a key is unknown, missing or wrong, or keys contradict each other; the message begins with `where`.
    """
    try:
        return Recipe.model_validate(fields, context=NEW_RECIPE)
    except ValidationError as error:
        raise InvalidRecipe(f"{where}: {_first_fault(error, fields)}") from None
    except InvalidRecipe as error:
        raise InvalidRecipe(f"{where}: {error}") from None


def load_recipe(name_or_path: str, recipes: Path) -> Recipe:
    """Return the recipe of this name in the folder `recipes` or in the current folder, or in this TOML file.

    Raises:
        InvalidRecipe: there is no such recipe, or it is not valid.
    """
    path = find_recipe(name_or_path, recipes)
    if path is None:
        raise InvalidRecipe(
            f'recipe "{name_or_path}" is not known: expected one of {list_names(recipe_names(recipes))} (in {recipes}), or a path to a TOML file'
        )
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRecipe(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    return parse_recipe(text, where=str(path), folder=path.parent)


def find_recipe(name_or_path: str, recipes: Path) -> Path | None:
    """Return the file of a recipe; None if there is none. Of two of one name that in `recipes` counts."""
    if name_or_path.endswith(".toml"):
        paths = [Path(name_or_path)]
    else:
        paths = [folder / f"{name_or_path}.toml" for folder in (recipes, Path())]
    return next((path for path in paths if path.is_file()), None)


def recipe_names(recipes: Path) -> list[str]:
    """Return the names of the recipes in a folder, sorted."""
    return sorted(path.stem for path in recipes.glob("*.toml"))


def names_with_tutorial(recipes: Path) -> list[str]:
    """Return the names of the valid recipes in a folder that have a `[tutorial]`, sorted."""
    names = []
    for name in recipe_names(recipes):
        with suppress(InvalidRecipe):
            if load_recipe(name, recipes).tutorial is not None:
                names.append(name)
    return names


#: types of fault whose message is shown as it is
_OWN_MESSAGES = ("missing_kind", "unknown_kind", "contradiction")


def _first_fault(error: ValidationError, document: dict[str, Any]) -> str:
    """Return a message for an unknown key, with the known ones, or else for the first fault."""
    faults = error.errors()
    fault = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] in _OWN_MESSAGES:
        return fault["msg"]
    if fault["type"] == "extra_forbidden":
        return f'unknown key "{key}": expected one of {list_names(_known_keys(fault["loc"], document))}'
    if fault["type"] == "missing":
        return f'the key "{key}" is missing'
    received = "" if isinstance(fault["input"], dict) else f", received {fault['input']!r}"
    return f'"{key}": {fault["msg"]}{received}'


def _known_keys(loc: tuple[int | str, ...], document: dict[str, Any]) -> list[str]:
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
