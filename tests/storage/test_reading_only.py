"""A store that is opened for reading: nothing in it can change, and nothing is created."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import DatabaseUnavailable, NotAllowed, SchemaOutOfDate, SchemaTooNew
from pipeline.storage.engine import Database, open_database, open_for_reading
from pipeline.storage.schema import check_schema, revision_of
from pipeline.storage.store import Store
from tests.storage.handmade_store import write_store
from tests.storage.raw_sql import change
from tests.support.examples import NOW


@pytest.fixture
def reading(database: Database) -> Iterator[Database]:
    """The handmade store, opened for reading."""
    write_store(database)
    with contextlib.closing(open_for_reading(database.url.render_as_string(hide_password=False))) as opened:
        yield opened


def test_everything_can_be_read(reading: Database) -> None:
    check_schema(reading)

    assert [row["recipe"] for row in Store(reading).recipes.status()] == ["idle", "small"]


def test_nothing_can_be_changed(reading: Database) -> None:
    with pytest.raises((DatabaseUnavailable, NotAllowed), match="read-?only"):
        Store(reading).recipes.begin_attempt("small", "run", NOW)


def test_an_sqlite_file_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="there is no store at sqlite:///.*/none.db: run `nextperiod run"):
        open_for_reading(f"sqlite:///{tmp_path}/none.db")

    assert list(tmp_path.iterdir()) == []


def test_the_name_of_an_sqlite_file_may_have_signs_of_a_url(tmp_path: Path) -> None:
    with contextlib.closing(open_database(f"sqlite:///{tmp_path}/a #1 100%25.db")) as written:
        change(written, "create table kept (value integer)")

    with contextlib.closing(open_for_reading(f"sqlite:///{tmp_path}/a #1 100%25.db")) as opened:
        assert revision_of(opened) is None


def test_an_empty_database_is_refused_and_stays_empty(database_url: str) -> None:
    with contextlib.closing(open_database(database_url)) as empty:
        revision_of(empty)  # creates the file
    with contextlib.closing(open_for_reading(database_url)) as opened:
        with pytest.raises(SchemaOutOfDate, match="has no schema: run `nextperiod db upgrade`"):
            check_schema(opened)

        assert revision_of(opened) is None


@pytest.mark.parametrize(("revision", "error"), [("0001", SchemaOutOfDate), ("9999", SchemaTooNew)])
def test_another_schema_is_refused(reading: Database, database: Database, revision: str, error: type) -> None:
    change(database, f"update schema_version set version_num = '{revision}'")

    with pytest.raises(error, match=f"revision {revision}"):
        check_schema(reading)
