"""What the store is measured against: the same rows by the barest statements into bare tables with the same key."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from pipeline.storage.bulk_load import _blocks, _encode_for_copy, _to_list
from pipeline.storage.engine import Database
from tests.benchmarks.loads import Panelled

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TYPES = {
    "sqlite": {
        "integer": "integer",
        "number": "real",
        "period": "text",
        "text": "text",
        "options": " strict, without rowid",
    },
    "postgresql": {
        "integer": "bigint",
        "number": "double precision",
        "period": "timestamp",
        "text": "text",
        "options": "",
    },
}
OBSERVATIONS = (
    "(series_id {integer} not null, period {period} not null, value {number} not null, batch_id {integer} not null, "
    "primary key (series_id, period)){options}"
)
FORECASTS = (
    "(run_id {text} not null, series_id {integer} not null, step {integer} not null, period {period} not null, "
    "mean {number} not null, lower_95 {number} not null, lower_80 {number} not null, median {number} not null, "
    "upper_80 {number} not null, upper_95 {number} not null, method {text} not null, reason {text}, "
    "primary key (run_id, series_id, step)){options}"
)


def make_table(database: Database, name: str, columns: str) -> None:
    """An empty table without constraints but its key."""
    dialect = database.url.get_backend_name()
    with database.write() as transaction:
        transaction.connection.exec_driver_sql(f"drop table if exists {name}")
        transaction.connection.exec_driver_sql(f"create table {name} {columns.format(**TYPES[dialect])}")


def load_bare(database: Database, table: str, columns: dict[str, Any]) -> float:
    """COPY of bytes, or executemany of lists, which are ready before the clock starts; its seconds."""
    names = ", ".join(columns)
    if database.url.get_backend_name() == "postgresql":
        ready = [_encode_for_copy(block) for block in _blocks(columns)]
        began = time.perf_counter()
        with (
            database.write() as transaction,
            transaction.copy(f"copy {table} ({names}) from stdin (format binary)") as write,
        ):
            write(_HEADER)
            for block in ready:
                write(block)
            write(b"\xff\xff")
        return time.perf_counter() - began
    lists = [
        _to_list(column, len(column)) if isinstance(column, np.ndarray) else repeat(column)
        for column in columns.values()
    ]
    statement = f"insert into {table} ({names}) values ({', '.join('?' * len(columns))})"
    began = time.perf_counter()
    with database.write() as transaction:
        transaction.insert_many(statement, zip(*lists, strict=False))
    return time.perf_counter() - began


def observation_columns(panel: Panelled) -> dict[str, Any]:
    """Observations as the store keeps them."""
    return {
        "series_id": np.repeat(np.arange(1, panel.num_series + 1), panel.length),
        "period": np.tile(panel.periods, panel.num_series),
        "value": panel.value,
        "batch_id": 1,
    }


def load_by_pandas(database: Database, panel: Panelled, num_rows: int, **settings: Any) -> float:
    """`DataFrame.to_sql` of so many of the rows into the same bare table; its seconds for a row."""
    make_table(database, "by_pandas", OBSERVATIONS)
    columns = observation_columns(panel)
    frame = pd.DataFrame(
        {name: column[:num_rows] if isinstance(column, np.ndarray) else column for name, column in columns.items()}
    )
    if database.url.get_backend_name() == "sqlite":
        frame["period"] = frame["period"].dt.strftime("%Y-%m-%d")
    began = time.perf_counter()
    with database.engine.begin() as connection:
        frame.to_sql("by_pandas", connection, if_exists="append", index=False, **settings)
    return (time.perf_counter() - began) / num_rows


def read_bare(database: Database, since: str) -> float:
    """The newest rows of all series as the database gives them, to nowhere; the seconds."""
    query = f"select series_id, period, value from observations where period >= '{since}'"
    began = time.perf_counter()
    with database.read() as transaction:
        if database.url.get_backend_name() == "postgresql":
            driver = transaction.connection.connection.driver_connection
            assert driver is not None
            with driver.cursor() as cursor, cursor.copy(f"copy ({query}) to stdout") as copy:
                for _ in copy:
                    pass
        else:
            transaction.connection.exec_driver_sql(query).fetchall()
    return time.perf_counter() - began


def version_of(database: Database) -> str:
    """The server's or the library's version."""
    question = "select sqlite_version()" if database.url.get_backend_name() == "sqlite" else "show server_version"
    with database.read() as transaction:
        return str(transaction.connection.execute(sa.text(question)).scalar())


def median_and_range(values: Sequence[float]) -> str:
    """As a table shows it."""
    return f"{np.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
