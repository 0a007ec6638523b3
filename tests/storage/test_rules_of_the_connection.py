"""How connections are opened, how transactions begin and end, and how values travel."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument
from pipeline.storage.engine import Database, open_database, sqlite_journal
from pipeline.storage.schema import require_schema
from pipeline.storage.statements import Instant, Period
from pipeline.storage.store import Store
from tests.storage.raw_sql import change, rows, value

DELETE = ("journal_mode = delete", "synchronous = extra")
WAL = ("journal_mode = wal", "synchronous = full")
A_RECIPE = {
    **{"recipe": "small", "definition": "{}", "fingerprint": "f"},
    **{"season_length": 12, "zone": "UTC", "period_zone": "UTC"},
}


def there_and_back(database: Database, written: Any, kind: Any) -> Any:
    """What a value is after a visit to the database."""
    with database.read() as transaction:
        return transaction.connection.execute(sa.select(sa.literal(written, kind))).scalar()


@pytest.mark.parametrize(
    ("version", "journal"),
    [
        ((3, 37, 0), DELETE),
        ((3, 40, 1), DELETE),
        ((3, 44, 5), DELETE),
        ((3, 44, 6), WAL),
        ((3, 44, 9), WAL),
        ((3, 45, 0), DELETE),
        ((3, 49, 2), DELETE),
        ((3, 50, 6), DELETE),
        ((3, 50, 7), WAL),
        ((3, 50, 8), WAL),
        ((3, 51, 0), DELETE),
        ((3, 51, 2), DELETE),
        ((3, 51, 3), WAL),
        ((3, 52, 0), WAL),
        ((4, 0, 0), WAL),
    ],
)
def test_the_journal_is_one_that_this_sqlite_keeps_through_a_power_cut(
    version: tuple[int, ...], journal: tuple[str, str]
) -> None:
    assert sqlite_journal(version) == journal


def test_every_sqlite_connection_has_its_pragmas(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    journal, synchronous = sqlite_journal(sqlite3.sqlite_version_info)

    with database.read() as first, database.read() as second:
        for connection in (first.connection, second.connection):
            found = {
                name: connection.exec_driver_sql(f"pragma {name}").scalar()
                for name in ("foreign_keys", "busy_timeout", "journal_mode", "synchronous")
            }
            assert found == {
                "foreign_keys": 1,
                "busy_timeout": 30000,
                "journal_mode": journal.removeprefix("journal_mode = "),
                "synchronous": {"synchronous = full": 2, "synchronous = extra": 3}[synchronous],
            }
    database.close()


def test_a_row_that_names_a_recipe_which_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(sa.exc.IntegrityError, match=r"(?i)foreign key"):
        change(database, "insert into series_variables (recipe, series) values ('unknown', 'a')")


def test_a_second_writer_waits_for_the_first_and_a_reader_does_not(tmp_path: Path) -> None:
    first, second = (open_database(f"sqlite:///{tmp_path}/store.db") for _ in range(2))
    require_schema(first)
    _wait_for_nobody(second)

    with first.write():
        with pytest.raises(DatabaseUnavailable, match="database is locked"), second.write():
            pytest.fail("two writers were inside at the same time")
        assert value(second, "select count(*) from recipes") == 0
    with second.read():
        _wait_for_nobody(first)
        assert change(first, "update registered_recipes set epoch = 1") == 0

    assert change(second, "update registered_recipes set epoch = 1") == 0
    first.close()
    second.close()


def _wait_for_nobody(database: Database) -> None:
    with database.read() as transaction:
        transaction.connection.exec_driver_sql("pragma busy_timeout = 0")


def test_a_locked_recipe_blocks_other_writers(database: Database, database_url: str) -> None:
    change(database, "insert into registered_recipes (recipe, definition, fingerprint) values ('small', '{}', 'f')")
    second = open_database(database_url)
    hurry = "pragma busy_timeout = 0" if database.url.get_backend_name() == "sqlite" else "set lock_timeout = '1ms'"
    with second.read() as transaction:
        transaction.connection.exec_driver_sql(hurry)
        transaction.connection.commit()

    with database.write() as transaction:
        transaction.row("lock_recipe", recipe="small")
        with pytest.raises(DatabaseUnavailable, match="lock"), second.write() as another:
            another.row("lock_recipe", recipe="small")

    with second.write() as another:
        assert another.row("lock_recipe", recipe="small") == {"epoch": 0, "champion_version": None}
    second.close()


def test_a_read_sees_only_what_was_committed(database: Database, database_url: str) -> None:
    reader = open_database(database_url)

    with database.write() as transaction:
        transaction.execute("insert_recipe", **A_RECIPE)
        assert value(reader, "select count(*) from recipes") == 0

    assert value(reader, "select count(*) from recipes") == 1
    reader.close()


def test_an_error_rolls_the_transaction_back(database: Database) -> None:
    def interrupted() -> None:
        with database.write() as transaction:
            transaction.connection.exec_driver_sql("create table made_here (number integer)")
            transaction.connection.exec_driver_sql("drop view anomalies")
            transaction.execute("insert_recipe", **A_RECIPE)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()

    names = sa.inspect(database.engine)
    assert "made_here" not in names.get_table_names()
    assert "anomalies" in names.get_view_names()
    assert value(database, "select count(*) from recipes") == 0


def test_an_instant_needs_a_zone(store: Store) -> None:
    with pytest.raises(sa.exc.StatementError, match="has no time zone: an instant needs one"):
        store.recipes.begin_attempt("small", "run", datetime(2026, 1, 1))

    assert value(store.database, "select count(*) from attempts") == 0


@pytest.mark.parametrize(
    "written",
    [
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 7, 1, 0, 30, 59, 999999, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        datetime(1969, 12, 31, 23, tzinfo=timezone(-timedelta(hours=3))),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    ],
    ids=str,
)
def test_an_instant_comes_back_in_utc(database: Database, written: datetime) -> None:
    found = there_and_back(database, written, Instant())

    assert found == written
    assert found.utcoffset() == timedelta(0)


def test_instants_in_sqlite_are_as_wide_as_each_other_so_that_text_order_is_time_order(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    store = Store(database)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    instants = [noon + timedelta(microseconds=n) for n in (0, 1, 10, 500_000, 999_999, 1_000_000, 86_400_000_000)]

    for instant in reversed(instants):
        store.recipes.begin_attempt("small", "run", instant)

    found = [text for (text,) in rows(database, "select started_at from attempts order by started_at")]
    assert {len(text) for text in found} == {len("2026-01-01 12:00:00.000000+00:00")}
    assert [datetime.fromisoformat(text) for text in found] == instants
    database.close()


@pytest.mark.parametrize(
    "written", ["2020-01-01", "2020-01-01T05", "2020-01-01T05:06:07.000008", "1899-12-31", "1969-12-31T23:59:59.999999"]
)
def test_a_period_comes_back_to_the_microsecond(database: Database, written: str) -> None:
    for unit in ("us", "ns") if written > "1900" else ("us",):
        found = there_and_back(database, np.datetime64(written, unit), Period())

        assert found == np.datetime64(written, "us")
        assert found.dtype == np.dtype("datetime64[us]")


def test_null_is_read_back_as_none(database: Database) -> None:
    assert there_and_back(database, None, Instant()) is None
    assert there_and_back(database, None, Period()) is None


def test_an_unavailable_database_is_named_without_its_password() -> None:
    away = open_database("postgresql://somebody:secret-word@127.0.0.1:1/store")

    with pytest.raises(DatabaseUnavailable, match="cannot be reached") as caught, away.read():
        pass

    assert "secret-word" not in str(caught.value)
    assert "somebody:***@127.0.0.1:1/store" in str(caught.value)


@pytest.mark.parametrize("url", ["", "nextperiod.db", "mysql://somebody:secret-word@localhost/store", "sqlite"])
def test_an_address_of_another_kind_is_refused_with_what_is_expected(url: str) -> None:
    with pytest.raises(InvalidArgument, match="expected sqlite:///FILE or postgresql") as caught:
        open_database(url)

    assert "secret-word" not in str(caught.value)
