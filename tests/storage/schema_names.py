"""The tables of the schema and the queries of each database."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from pipeline.storage.schema import (
    VERSION_TABLE,
)

SQL = Path(str(files("sql")))


QUERIES = sorted(path for path in SQL.glob("queries/*/*.sql") if path.parent.name != "examples")


TABLES = {
    "attributes",
    "held_rows",
    "leases",
    "observations_default",
    "revisions",
    "older_versions",
    "command_attempts",
    "batches",
    "forecasts",
    "model_files",
    "models",
    "observations",
    "outbox",
    "registered_recipes",
    "rejections",
    "run_series",
    "run_steps",
    "runs",
    "alerts",
    "backtest_comparisons",
    "backtest_errors",
    "model_decisions",
    "recipe_versions",
    "sample_paths",
    "scored",
    "scores",
    "zone_offsets",
    "series_variables",
    VERSION_TABLE,
}


def query_names(dialect: str) -> list[str]:
    """The queries that one kind of database has, once each."""
    return sorted(
        {path.name.split(".")[0] for path in QUERIES if path.name.count(".") == 1 or f".{dialect}." in path.name}
    )
