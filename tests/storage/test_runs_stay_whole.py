"""A published run keeps its rows and gets no others, whoever is connected; a run that is not whole stays staged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from pipeline.storage.engine import Database
from pipeline.storage.statements import query_text
from tests.storage.handmade_store import numbers_around, write_store
from tests.storage.raw_sql import rows

#: carries out statements in one transaction, and takes them back where one is refused
Statements = Callable[..., None]

REFUSALS = (sa.exc.DatabaseError, sqlite3.DatabaseError, psycopg.DatabaseError)
TABLES = ("runs", "run_steps", "run_series", "forecasts", "scores")
NUMBERS = tuple(numbers_around(0))
#: of each table: what a row is told apart by besides its run, and what it says
ROWS = {
    "run_steps": ("step", "period"),
    "run_series": ("series_id", "method"),
    "forecasts": ("series_id, step", "mean"),
}


def number(run_id: str) -> str:
    """The number of a run, as SQL."""
    return f"(select run_number from runs where run_id = '{run_id}')"


def forecast(run_id: str, series_id: int, step: int, verb: str = "insert") -> str:
    """A forecast of 1 without any doubt."""
    return (
        f"{verb} into forecasts (run_number, series_id, step, {', '.join(NUMBERS)}) "
        f"values ({number(run_id)}, {series_id}, {step}, {', '.join('1' for _ in NUMBERS)})"
    )


PUBLISH = "update runs set status = 'published', published_at = as_of where run_id = 'staged'"
ADDED = {
    "a step": f"insert into run_steps (run_number, step, period) values ({number('march')}, 4, '2025-07-01')",
    "a series": f"insert into run_series (run_number, series_id, method) values ({number('march')}, 2, 'lstm')",
}
ADDED_FORECASTS = {
    "a forecast of another step": forecast("march", 1, 4),
    "a forecast of another series": forecast("march", 2, 1),
    "a forecast of no run": forecast("unheard of", 1, 1).replace(number("unheard of"), "99"),
}
REPLACED = {
    "a step": f"insert or replace into run_steps values ({number('march')}, 1, '2025-07-01')",
    "a series": f"insert or replace into run_series (run_number, series_id, method, reason, scale) "
    f"values ({number('march')}, 1, 'lstm', 'replaced', 1)",
}
REPLACED_FORECAST = forecast("march", 1, 1, "insert or replace")
#: what makes the staged run other than it declares to be
NOT_WHOLE = {
    "a row is missing": (f"delete from forecasts where run_number = {number('staged')} and step = 3",),
    "a step is missing": (f"delete from run_steps where run_number = {number('staged')} and step = 3",),
    "the series is missing": (f"delete from run_series where run_number = {number('staged')}",),
    "a series too many": (ADDED["a series"].replace("march", "staged"),),
    "a step too many": (ADDED["a step"].replace("march", "staged"),),
    "a row too many": (ADDED["a step"].replace("march", "staged"), forecast("staged", 1, 4)),
    "another step's row": (
        f"delete from forecasts where run_number = {number('staged')} and step = 3",
        forecast("staged", 1, 4),
    ),
    "another series' row": (
        f"delete from forecasts where run_number = {number('staged')} and step = 3",
        forecast("staged", 2, 3),
    ),
    "steps that do not follow each other": tuple(
        f"update {table} set step = 4 where run_number = {number('staged')} and step = 3"
        for table in ("run_steps", "forecasts")
    ),
    "a step of another number": (f"update run_steps set step = 4 where run_number = {number('staged')} and step = 3",),
    "a step before the first": (f"update run_steps set step = 0 where run_number = {number('staged')} and step = 2",),
    "another number of rows": ("update runs set num_rows = 4 where run_id = 'staged'",),
    "another number of series": ("update runs set num_series = 3 where run_id = 'staged'",),
}


@pytest.fixture
def filled(database: Database) -> Database:
    """A store with runs of every status."""
    write_store(database)
    return database


@pytest.fixture(params=["ours", "foreign"])
def connected(request: pytest.FixtureRequest, filled: Database) -> Iterator[Statements]:
    """A connection of our own, or a plain one of the driver without our settings."""
    if request.param == "ours":
        yield lambda *statements: _by_us(filled, statements)
        return
    with contextlib.closing(foreign(filled)) as connection:
        yield lambda *statements: _by_a_stranger(connection, statements)


def foreign(database: Database) -> Any:
    """A plain connection of the driver."""
    if is_sqlite(database):
        return sqlite3.connect(str(database.url.database))
    return psycopg.connect(database.url.set(drivername="postgresql").render_as_string(hide_password=False))


def _by_us(database: Database, statements: tuple[str, ...]) -> None:
    with database.write() as transaction:
        for statement in statements:
            transaction.connection.exec_driver_sql(statement)


def _by_a_stranger(connection: Any, statements: tuple[str, ...]) -> None:
    try:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.rollback()


def is_sqlite(database: Database) -> bool:
    return database.url.get_backend_name() == "sqlite"


def is_careless(database: Database, request: pytest.FixtureRequest) -> bool:
    """Whether the connection looks up no foreign keys and says nothing of what it replaces, as SQLite's do by default."""
    return is_sqlite(database) and request.node.callspec.params["connected"] == "foreign"


def everything(database: Database) -> dict[str, list[Any]]:
    """All rows of runs and what hangs on them."""
    return {table: rows(database, f"select * from {table} order by 1, 2, 3") for table in TABLES}


def test_no_row_is_added_to_a_published_run(filled: Database, connected: Statements) -> None:
    before = everything(filled)

    for statement in (*ADDED.values(), *ADDED_FORECASTS.values()):
        with pytest.raises(REFUSALS, match="the forecasts of a published run are never changed|FOREIGN KEY"):
            connected(statement)

    assert everything(filled) == before


def test_no_row_of_a_published_run_is_replaced(filled: Database, connected: Statements) -> None:
    before = everything(filled)
    statements = [
        f"insert into {table} select * from {table} where run_number = {number('march')} "
        f"on conflict (run_number, {key}) do update set {said} = excluded.{said}"
        for table, (key, said) in ROWS.items()
    ]
    if is_sqlite(filled):
        statements += [*REPLACED.values(), REPLACED_FORECAST]

    for statement in statements:
        with pytest.raises(REFUSALS, match="the forecasts of a published run are never changed"):
            connected(statement)

    assert everything(filled) == before


@pytest.mark.parametrize("run_id", ["march", "mistaken"])
def test_no_row_of_a_published_run_is_changed_or_deleted(filled: Database, connected: Statements, run_id: str) -> None:
    before = everything(filled)

    for table, (_, said) in ROWS.items():
        of_run = f"where run_number = {number(run_id)}"
        for statement in (
            f"update {table} set {said} = {said} {of_run}",
            f"update {table} set run_number = {number('staged')} {of_run}",
            f"update {table} set run_number = {number(run_id)} where run_number = {number('staged')}",
            f"delete from {table} {of_run}",
        ):
            with pytest.raises(
                REFUSALS, match="the forecasts of a published run are never changed|UNIQUE|duplicate key"
            ):
                connected(statement)

    assert everything(filled) == before


def test_an_incomplete_run_is_not_published(filled: Database, connected: Statements) -> None:
    before = everything(filled)
    gone_out = []

    for why, statements in NOT_WHOLE.items():
        with contextlib.suppress(*REFUSALS):
            connected(*statements, PUBLISH)
            gone_out.append(why)

    assert gone_out == []
    assert everything(filled) == before


def test_a_complete_run_is_published(filled: Database, connected: Statements) -> None:
    connected(PUBLISH)

    assert rows(filled, "select mean from latest_forecasts order by step") == [(999.0,), (1002.0,), (1005.0,)]


def test_a_staged_run_is_deleted_after_its_rows(
    filled: Database, connected: Statements, request: pytest.FixtureRequest
) -> None:
    before = everything(filled)
    in_order = [
        f"delete from {t} where run_number = {number('staged')}" for t in ("forecasts", "run_steps", "run_series")
    ]
    delete_run = "delete from runs where run_id = 'staged'"
    for deleted in range(1 if is_careless(filled, request) else len(in_order)):
        with pytest.raises(REFUSALS, match="a staged run is deleted after its forecasts|FOREIGN KEY"):
            connected(*in_order[:deleted], delete_run)
    assert everything(filled) == before

    connected(*in_order, delete_run)

    assert [run for run in before["runs"] if run not in everything(filled)["runs"]] == [
        run for run in before["runs"] if "staged" in run
    ]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # whoever has its file can take a guard away
def test_rows_added_without_the_guard_are_in_no_view(filled: Database) -> None:
    views = ("latest_forecasts", "forecast_history", "anomalies")
    before = {view: rows(filled, f"select * from {view}") for view in views}

    with contextlib.closing(foreign(filled)) as connection:
        for guard in ("published_forecasts_stay_on_insert", "staged_run_is_deleted_last"):
            connection.execute(f"drop trigger {guard}")
        _by_a_stranger(connection, (*ADDED_FORECASTS.values(), "delete from runs where run_id = 'staged'"))

    assert {view: rows(filled, f"select * from {view}") for view in views} == before
    assert rows(filled, query_text("incomplete_runs", "sqlite")) == [("march", 3, 5)]
