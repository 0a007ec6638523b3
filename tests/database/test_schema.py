"""The schema is made, kept, told apart from others, and readable without Python."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from pipeline.database import REVISION, VERSION_TABLE, VIEWS, Database, open_database, schema_sql, view_sql
from pipeline.errors import DatabaseUnavailable, SchemaOutOfDate, SchemaTooNew
from tests.database.small_store import change, rows, value

SQL = Path(str(files("sql")))
QUERIES = sorted(SQL.glob("queries/*.sql"))
VIEW_FILES = sorted(SQL.glob("views/*.sql"))
TABLES = {
    "attempts",
    "batches",
    "forecasts",
    "model_files",
    "models",
    "observations",
    "outbox",
    "recipes",
    "rejections",
    "runs",
    "scores",
    "series",
    VERSION_TABLE,
}

_SQLITE_SCHEMA = "select type, name, sql from sqlite_master order by type, name"
_POSTGRESQL_SCHEMA = """
select table_name || '.' || column_name, data_type || is_nullable || coalesce(column_default, '') from
    information_schema.columns where table_schema = 'public'
union all select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
union all select indexname, indexdef from pg_indexes where schemaname = 'public'
union all select viewname, definition from pg_views where schemaname = 'public'
union all select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal
union all select proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace
order by 1, 2"""


def schema_of(database: Database) -> list[tuple[str, ...]]:
    """Everything that the database says about its own schema."""
    sqlite = database.url.get_backend_name() == "sqlite"
    found = rows(database, (_SQLITE_SCHEMA if sqlite else _POSTGRESQL_SCHEMA).replace("::", r"\:\:"))
    return [tuple(" ".join((text or "").split()) for text in row) for row in found]


@pytest.fixture
def empty(database_url: str) -> Database:
    """A database without a schema."""
    return open_database(database_url)


def test_an_upgrade_makes_the_schema(empty: Database) -> None:
    assert empty.revision() is None

    empty.upgrade()

    inspector = sa.inspect(empty.engine)
    assert set(inspector.get_table_names()) == TABLES
    assert set(inspector.get_view_names()) == set(VIEWS)
    assert empty.revision() == REVISION
    empty.close()


def test_a_second_upgrade_changes_nothing(database: Database) -> None:
    change(database, "insert into recipes (recipe, definition, fingerprint) values ('kept', '{}', 'f')")
    before = schema_of(database)

    database.upgrade()

    assert schema_of(database) == before
    assert rows(database, "select recipe, fingerprint from recipes") == [("kept", "f")]
    assert rows(database, f"select version_num from {VERSION_TABLE}") == [(REVISION,)]


def test_an_upgrade_that_fails_leaves_nothing_of_itself(empty: Database) -> None:
    change(empty, "create table outbox (in_the_way integer)")

    with pytest.raises((sa.exc.DatabaseError, DatabaseUnavailable), match="outbox"):
        empty.upgrade()

    assert sa.inspect(empty.engine).get_table_names() == ["outbox"]
    assert empty.revision() is None
    change(empty, "drop table outbox")
    empty.upgrade()
    assert empty.revision() == REVISION
    empty.close()


def test_the_revision_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(SQL / "migrations")).get_current_head() == REVISION


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_snapshot_of_the_schema_is_current(dialect: str) -> None:
    snapshot = (SQL / f"schema.{dialect}.sql").read_text("utf-8")

    assert snapshot == schema_sql(dialect), f"sql/schema.{dialect}.sql is not current: run `make schema`"


def test_the_snapshot_makes_the_same_schema_as_the_migrations(database: Database, tmp_path: Path) -> None:
    dialect = database.url.get_backend_name()
    made = schema_of(database)
    snapshot = (SQL / f"schema.{dialect}.sql").read_text("utf-8")

    if dialect == "sqlite":
        by_hand = open_database(f"sqlite:///{tmp_path}/by_hand.db")
        with contextlib.closing(sqlite3.connect(tmp_path / "by_hand.db")) as connection:
            connection.executescript(snapshot)
    else:
        by_hand = database
        change(by_hand, "drop schema public cascade")
        change(by_hand, "create schema public")
        with by_hand.write() as transaction:
            transaction.connection.exec_driver_sql(snapshot.replace("%", "%%"))

    assert schema_of(by_hand) == made
    by_hand.close()


def test_an_empty_database_gets_its_schema_when_it_is_required(empty: Database) -> None:
    empty.require_schema()

    assert empty.revision() == REVISION
    empty.require_schema()
    empty.close()


def test_an_older_schema_is_refused_with_the_command_that_helps(database: Database) -> None:
    change(database, f"update {VERSION_TABLE} set version_num = '0000'")

    with pytest.raises(SchemaOutOfDate, match=f"is at revision 0000.*needs {REVISION}.*`nextperiod db upgrade`"):
        database.require_schema()


def test_a_newer_schema_is_refused_and_never_upgraded(database: Database) -> None:
    change(database, f"update {VERSION_TABLE} set version_num = '9999'")
    before = schema_of(database)

    with pytest.raises(SchemaTooNew, match="9999, newer than this nextperiod knows"):
        database.require_schema()
    with pytest.raises(SchemaTooNew, match="9999, newer than this nextperiod knows"):
        database.upgrade()

    assert schema_of(database) == before
    assert database.revision() == "9999"


def test_no_message_about_the_schema_shows_the_password() -> None:
    database = open_database("postgresql://somebody:secret-word@localhost/store")

    assert "secret-word" not in database.shown
    assert database.shown == "postgresql+psycopg://somebody:***@localhost/store"


def test_every_query_fits_the_schema(database: Database) -> None:
    for path in QUERIES:
        parameters = dict.fromkeys(sa.text(path.read_text("utf-8")).compile().params)
        with database.read() as transaction, transaction.connection.begin_nested() as savepoint:
            try:
                transaction.execute(path.stem, **parameters)
            except sa.exc.IntegrityError:  # it was understood; its columns may not be null
                savepoint.rollback()
            except sa.exc.DBAPIError as error:
                pytest.fail(f"{path} does not fit the schema: {error.orig}")

    with pytest.raises((sa.exc.DatabaseError, DatabaseUnavailable), match="no_such_column"):
        value(database, "select no_such_column from runs")


def test_every_statement_says_first_what_it_answers() -> None:
    files_without = [path for path in (*QUERIES, *VIEW_FILES) if not re.match(r"-- \S.*\.\n", path.read_text("utf-8"))]

    assert not files_without


def test_every_view_has_its_file_and_every_file_is_a_view() -> None:
    found = {path.name.split(".")[0] for path in VIEW_FILES}

    assert found == set(VIEWS)
    for dialect in ("sqlite", "postgresql"):
        assert all(f"create view {name} as" in view_sql(name, dialect) for name in VIEWS)
