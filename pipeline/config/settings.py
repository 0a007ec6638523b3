"""Addresses and secrets, read from the environment once.

These are four texts without types to check: pydantic-settings would add its import (17 ms) to every command for them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: by environment variable: default and description
SETTINGS = {
    "NEXTPERIOD_DATABASE_URL": ("sqlite:///nextperiod.db", "the store: SQLite or PostgreSQL (postgresql+psycopg://…)"),
    "NEXTPERIOD_RECIPES": ("deployments/recipes", "folder of recipes; if it does not exist, `recipes`"),
    "MLFLOW_TRACKING_URI": ("sqlite:///mlflow.db", "MLflow's own variable"),
    "PREFECT_API_URL": ("", "Prefect's own variable; empty: it is not used"),
    "NEXTPERIOD_ALERTS": (
        "",
        "where alerts are sent: the address of a webhook, or `prefect:TYPE/NAME` of a notification block; empty: nowhere",
    ),
}

#: where `nextperiod init` puts recipes: there is no folder `deployments` beside them
_RECIPES_OF_A_FOLDER = Path("recipes")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where the store, the recipes, MLflow and Prefect are."""

    database_url: str
    recipes: Path
    tracking_uri: str
    prefect_api_url: str
    #: empty: nowhere
    alerts: str = ""


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings; a variable that is not set or empty has its default."""
    values = {name: environment.get(name) or default for name, (default, _) in SETTINGS.items()}
    recipes = Path(values["NEXTPERIOD_RECIPES"])
    if not environment.get("NEXTPERIOD_RECIPES") and not recipes.is_dir():
        recipes = _RECIPES_OF_A_FOLDER
    return Settings(
        database_url=values["NEXTPERIOD_DATABASE_URL"],
        recipes=recipes,
        tracking_uri=values["MLFLOW_TRACKING_URI"],
        prefect_api_url=values["PREFECT_API_URL"],
        alerts=values["NEXTPERIOD_ALERTS"],
    )
