"""The one way in which tests build a recipe that is not itself the subject of the test."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pipeline.config.loader import validate_recipe
from pipeline.config.recipe import Recipe


def build_recipe(name: str, *, folder: Path = Path(), **keys: Any) -> Recipe:
    """A recipe of monthly values in the file `NAME.csv`, three months ahead.

    Args:
        name: of the recipe.
        folder: what its paths are relative to.
        keys: further keys, or other values of the usual ones. A table is a dict or the text of one in TOML; the keys of
            `source` are added to the usual ones.
    """
    usual: dict[str, Any] = {"kind": "csv", "path": f"{name}.csv", "period": "month", "value": "sold"}
    tables = {
        key: tomllib.loads(value) if key in _TABLES and isinstance(value, str) else value for key, value in keys.items()
    }
    fields = {"name": name, "frequency": "MS", "horizon": 3, **tables, "source": usual | tables.get("source", {})}
    return validate_recipe(fields, where=f"{name}.toml").with_folder(folder)


_TABLES = ("source", "covariates", "model", "training", "backtest", "gate", "publish")
