"""Reading one series of one recipe from a view looks nothing large through: its plan goes by indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import VIEWS, require_schema
from tests.storage.raw_sql import rows
from tests.support.servers import new_database
from tests.support.wide_store import HORIZON, NUM_RUNS, RECIPE, name_of_series, write_wide_store

NUM_SERIES, NUM_PERIODS = 1_500, 24
#: more rows than any table has of one series
MOST_ROWS = 4 * HORIZON * NUM_RUNS
SERIES = name_of_series(700)
#: tables with a row for each recipe, batch, run, model or decision; all others grow with the series
SMALL = {
    *("registered_recipes", "batches", "runs", "run_steps", "models", "model_decisions", "command_attempts"),
    "zone_offsets",
}
#: rows of one series, by view
NUM_ROWS = {
    "latest_forecasts": HORIZON,
    "forecast_history": HORIZON * NUM_RUNS,
    "current_observations": NUM_PERIODS,
    "forecast_accuracy": 1,
    "anomalies": 1,
    "rejected_observations": 1,
    "latest_paths": HORIZON,
    "inactive_series": 0,
    "series": 1,
    "covariates": 12,
    "backtest_by_series": 1,
}
#: views without a series, which read small tables alone
BY_RECIPE = ("recipe_status", "recipes", "attempts", "decisions", "model_history")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A store of many series, with statistics in PostgreSQL."""
    if request.param == "sqlite":
        database = open_database(f"sqlite:///{tmp_path_factory.mktemp('wide')}/store.db")
        require_schema(database)
        write_wide_store(database, NUM_SERIES, NUM_PERIODS)
        yield database
        database.close()
        return
    admin = sa.create_engine(request.getfixturevalue("postgresql"), isolation_level="AUTOCOMMIT")
    with new_database(admin, "wide") as url:
        database = open_database(url.render_as_string(hide_password=False))
        require_schema(database)
        write_wide_store(database, NUM_SERIES, NUM_PERIODS)
        yield database
        database.close()
    admin.dispose()


def tables_read_in_vain(database: Database, query: str) -> set[str]:
    """The tables of which the plan of a query reads more than the rows of one series, runs and batches aside."""
    if database.url.get_backend_name() == "postgresql":
        ((plan,),) = rows(database, f"explain (analyze, timing off, format json) {query}")
        return {
            re.sub("_default$", "", name)
            for name, num_rows, is_sequential in _scans(plan[0]["Plan"])
            if is_sequential or num_rows > MOST_ROWS
        }
    details = [str(row[3]) for row in rows(database, f"explain query plan {query}")]
    scanned = {match[1] for match in (re.match(r"SCAN (\w+)", detail) for detail in details) if match}
    searched = (re.match(r"SEARCH (\w+) USING PRIMARY KEY \(run_number=\?\)", detail) for detail in details)
    view = set(VIEWS) & {query.split()[3]}  # what remains of a view is read once more, if it is grouped or a union
    return (scanned | {match[1] for match in searched if match}) - {"CONSTANT", "steps", *view}


def _scans(plan: dict[str, Any]) -> Iterator[tuple[str, int, bool]]:
    """Each table that a plan reads, how many of its rows, and whether from one end to the other."""
    if "Relation Name" in plan:
        discarded = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        num_rows = (plan["Actual Rows"] + discarded) * plan["Actual Loops"]
        yield plan["Relation Name"], num_rows, plan["Node Type"] == "Seq Scan"
    for part in plan.get("Plans", ()):
        yield from _scans(part)


def test_every_view_is_here() -> None:
    assert {*NUM_ROWS, *BY_RECIPE} == set(VIEWS)


@pytest.mark.parametrize("view", NUM_ROWS)
def test_one_series_is_read_by_indexes(wide: Database, view: str) -> None:
    query = f"select * from {view} where recipe = '{RECIPE}' and series = '{SERIES}'"

    assert len(rows(wide, query)) == NUM_ROWS[view]
    assert tables_read_in_vain(wide, query) <= SMALL


@pytest.mark.parametrize("view", BY_RECIPE)
def test_one_recipe_is_read_without_its_series(wide: Database, view: str) -> None:
    query = f"select * from {view} where recipe = '{RECIPE}'"

    assert tables_read_in_vain(wide, query) <= SMALL


def test_a_table_that_is_looked_through_is_found(wide: Database) -> None:
    assert tables_read_in_vain(wide, "select * from forecasts where mean > 1") == {"forecasts"}
    everything = "select recipe, period from current_observations where value > 1"
    assert tables_read_in_vain(wide, everything) - SMALL
