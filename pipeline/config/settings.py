"""Addresses and secrets, from the environment, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

#: by environment variable: default and what it is
SETTINGS = {
    "NEXTPERIOD_DATABASE_URL": ("sqlite:///nextperiod.db", "the store: SQLite or PostgreSQL (postgresql+psycopg://…)"),
    "NEXTPERIOD_RECIPES": ("deployments/recipes", "folder of recipes"),
    "MLFLOW_TRACKING_URI": ("sqlite:///mlflow.db", "MLflow's own variable"),
    "PREFECT_API_URL": ("", "Prefect's own variable; empty: it is not used"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where everything is."""

    database_url: str
    recipes: Path
    tracking_uri: str
    prefect_api_url: str


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings, with defaults for what is not set."""
    value = {name: environment.get(name) or default for name, (default, _) in SETTINGS.items()}
    return Settings(
        database_url=value["NEXTPERIOD_DATABASE_URL"],
        recipes=Path(value["NEXTPERIOD_RECIPES"]),
        tracking_uri=value["MLFLOW_TRACKING_URI"],
        prefect_api_url=value["PREFECT_API_URL"],
    )
