"""SQL past our own code: what consumers read, and what tables and triggers refuse."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.records.lineage import ModelVersion
from pipeline.storage.engine import Database
from pipeline.storage.statements import Transaction
from tests.storage.small_store import NEVER, lineage
from tests.support.examples import NOW

#: the quantiles in ascending order, and the mean
NUMBERS = ("lower_95", "lower_80", "median", "upper_80", "upper_95", "mean")


def rows(database: Database, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    with database.read() as transaction:
        return [tuple(row) for row in transaction.connection.execute(sa.text(sql), parameters)]


def value(database: Database, sql: str, **parameters: Any) -> Any:
    """The one value of a SELECT."""
    return rows(database, sql, **parameters)[0][0]


def change(database: Database, sql: str, **parameters: Any) -> int:
    """Execute a statement; the number of rows that it changed."""
    with database.write() as transaction:
        return transaction.connection.execute(sa.text(sql), parameters).rowcount


def insert(database: Database, table: str, *new_rows: dict[str, Any]) -> None:
    """Insert rows into a table."""
    columns = ", ".join(new_rows[0])
    values = ", ".join(f":{column}" for column in new_rows[0])
    with database.write() as transaction:
        transaction.connection.execute(sa.text(f"insert into {table} ({columns}) values ({values})"), new_rows)


@contextlib.contextmanager
def refused(transaction: Transaction, match: str | None = None) -> Iterator[None]:
    """Expect the database to refuse the statements of the block; the transaction continues without them."""
    savepoint = transaction.connection.begin_nested()
    with pytest.raises(sa.exc.DatabaseError, match=match):
        yield
    savepoint.rollback()


def stage(transaction: Transaction, model: ModelVersion, run_id: str = "staged", num_rows: int = 1) -> None:
    """Insert a staged run without rows."""
    transaction.execute(
        "insert_run",
        run_id=run_id,
        recipe="small",
        kind="live",
        origin=np.datetime64("2023-04-01", "us"),
        as_of=NOW,
        recorded_by=None,
        data_hash="data",
        recipe_fingerprint=lineage().recipe_fingerprint,
        model_version=model.model_version,
        model_hash=model.model_hash,
        code_version="0.1.0+test",
        num_series=1,
        num_fallback=0,
        num_rows=num_rows,
        content_hash="content",
        expected_next_by=NEVER,
        calibration=None,
    )


def insert_step(transaction: Transaction, step: int = 1, run_id: str = "staged", **changed: Any) -> None:
    """Insert one step of a run."""
    run_number = transaction.connection.execute(
        sa.text("select run_number from runs where run_id = :run"), {"run": run_id}
    ).scalar_one()
    series_id = transaction.rows("series_of_recipe", recipe="small", variable="")[0]["series_id"]
    sound = dict(zip(NUMBERS, (-8.0, -5.0, 0.0, 5.0, 8.0, 0.0), strict=True))
    of_step = {
        "run_number": run_number,
        "step": step,
        "period": f"{2023 + (step + 3) // 12}-{(step + 3) % 12 + 1:02d}-01",
    }
    of_series = {"run_number": run_number, "series_id": series_id, "method": "lstm"}
    for table, row, key in (("run_steps", of_step, "step"), ("run_series", of_series, "series_id")):
        known = f"select 1 from {table} where run_number = :run_number and {key} = :{key}"
        if transaction.connection.execute(sa.text(known), row).first() is None:
            _insert(transaction, table, row)
    _insert(
        transaction,
        "forecasts",
        {"run_number": run_number, "series_id": series_id, "step": step, **sound, **changed},
    )


def _insert(transaction: Transaction, table: str, row: dict[str, Any]) -> None:
    bound = ", ".join(f":{name}" for name in row)
    transaction.connection.execute(sa.text(f"insert into {table} ({', '.join(row)}) values ({bound})"), row)


def insert_value(transaction: Transaction, written: str, month: str = "2030-01-01", **parameters: Any) -> None:
    """Insert one observation of every series; `written` is SQL."""
    transaction.connection.execute(
        sa.text(
            "insert into observations (series_id, period, value, batch_id) "
            f"select series_id, '{month}', {written}, "
            "(select max(batch_id) from batches) from series_variables"
        ),
        parameters,
    )


def execute(transaction: Transaction, sql: str, **parameters: Any) -> int:
    """Execute a statement in a transaction; the number of rows that it changed."""
    return transaction.connection.execute(sa.text(sql), parameters).rowcount
