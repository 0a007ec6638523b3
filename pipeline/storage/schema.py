"""The schema of both databases: its revision, upgrades and views."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import sqlalchemy as sa

import sql
from pipeline.errors import NotAllowed, SchemaOutOfDate, SchemaTooNew
from pipeline.storage.engine import Database

#: the newest migration
REVISION = "0016"

VERSION_TABLE = "schema_version"

#: each view after the views that it selects from
VIEWS = (
    "latest_forecasts",
    "forecast_history",
    "current_observations",
    "forecast_accuracy",
    "anomalies",
    "recipe_status",
    "rejected_observations",
    "latest_paths",
    "inactive_series",
    "recipes",
    "series",
    "covariates",
    "attempts",
    "decisions",
    "model_history",
    "backtest_by_series",
)

#: what a view writes for one of `sql/views/expressions`, with the column that the expression is about
_EXPRESSION = re.compile(r"\b(period_at|period_local)\(([\w.]+)\)")

#: SQLite does not know how many rows a run has, and would read all of them for one series; a cross join keeps the order
_JOIN_IN_ORDER = {"sqlite": "cross join", "postgresql": "join"}

#: Alembic works on globals: a process runs one migration at a time
_MIGRATION_LOCK = threading.Lock()

#: act as the owner of the existing tables if this user may, so that new tables get the same owner
_AS_OWNER = """
select set_config('role', pg_roles.rolname, true) from pg_class join pg_roles on pg_roles.oid = pg_class.relowner
where pg_class.oid = to_regclass('schema_version') and pg_has_role(pg_roles.oid, 'member')"""


def revision_of(database: Database) -> str | None:
    """The revision of the schema; None if the database has no schema."""
    with database.read() as transaction:
        return _revision(transaction.connection)


def require_schema(database: Database) -> None:
    """Create the schema in an empty database; refuse a schema of another revision than the code's.

    Raises:
        SchemaOutOfDate: it is older: run `nextperiod db upgrade`.
        SchemaTooNew: it is newer: install a newer release.
    """
    revision = revision_of(database)
    if revision is None:
        upgrade(database)
    else:
        _refuse_other_revision(database, revision)


def check_schema(database: Database) -> None:
    """Refuse a database without a schema, or with one of another revision than the code's; nothing is written.

    Raises:
        SchemaOutOfDate: it has none, or an older one: run `nextperiod db upgrade`.
        SchemaTooNew: it is newer: install a newer release.
    """
    revision = revision_of(database)
    if revision is None:
        raise SchemaOutOfDate(f"{database.shown} has no schema: run `nextperiod db upgrade`")
    _refuse_other_revision(database, revision)


def _refuse_other_revision(database: Database, revision: str) -> None:
    if revision < REVISION:
        raise SchemaOutOfDate(
            f"the schema of {database.shown} is at revision {revision}, this nextperiod needs {REVISION}: "
            "run `nextperiod db upgrade`"
        )
    _refuse_newer(database, revision)


def upgrade(database: Database) -> None:
    """Upgrade the schema to the code's revision; nothing happens if it has that revision.

    Raises:
        SchemaTooNew: it is newer than the code.
        NotAllowed: an empty database has an encoding that lacks characters.
    """
    from alembic import command

    with _MIGRATION_LOCK, _migration(database) as connection:
        revision = _revision(connection)
        _refuse_newer(database, revision)
        if revision is None:
            _refuse_other_encodings(database, connection)
        if revision != REVISION:
            _drop_views(connection)
            command.upgrade(_alembic(connection), "head")
            _create_views(connection)
            if connection.dialect.name == "postgresql":
                for name in ("comments", "grants"):
                    run_script(connection, script(name))


@contextlib.contextmanager
def _migration(database: Database) -> Iterator[sa.Connection]:
    """Begin a transaction for a migration; SQLite checks foreign keys at its end, so that tables may be rebuilt."""
    sqlite = database.url.get_backend_name() == "sqlite"
    with database.reachable(), database.engine.connect() as connection:
        driver = connection.connection.driver_connection
        if sqlite and driver is not None:
            driver.execute("pragma foreign_keys = off")
        try:
            with connection.begin():
                if not sqlite:
                    connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('nextperiod schema'))"))
                    connection.execute(sa.text(_AS_OWNER))
                yield connection
                if sqlite and connection.exec_driver_sql("pragma foreign_key_check").first() is not None:
                    raise SchemaOutOfDate(
                        f"{database.shown} has rows that refer to rows that do not exist: nothing was changed"
                    )
        finally:
            if sqlite and driver is not None:
                driver.execute("pragma foreign_keys = on")


def _refuse_newer(database: Database, revision: str | None) -> None:
    if revision is not None and revision > REVISION:
        raise SchemaTooNew(
            f"the schema of {database.shown} is at revision {revision}, newer than this nextperiod knows ({REVISION}): "
            "install the version that created it"
        )


def _refuse_other_encodings(database: Database, connection: sa.Connection) -> None:
    """Refuse to create a store that could not hold the name of every series."""
    if connection.dialect.name == "postgresql":
        encoding = connection.exec_driver_sql("show server_encoding").scalar_one()
        if encoding != "UTF8":
            raise NotAllowed(
                f"the database {database.shown} has the encoding {encoding}: expected UTF8; "
                "create it with: create database NAME template template0 encoding 'UTF8'"
            )


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    revision = connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar()
    return None if revision is None else str(revision)


def view_sql(name: str, dialect: str) -> str:
    """The statement that creates a view."""

    def write_out(call: re.Match[str]) -> str:
        _, expression = _read_sql(f"views/expressions/{call[1]}", dialect).split("\n", 1)
        return expression.rstrip().replace("{period}", call[2])

    text = _EXPRESSION.sub(write_out, _read_sql(f"views/{name}", dialect))
    return text.replace("in_order join", _JOIN_IN_ORDER[dialect])


def _read_sql(name: str, dialect: str) -> str:
    """The text of a file for one kind of database, or for both."""
    folder = files(sql)
    dialect_file = folder / f"{name}.{dialect}.sql"
    return (dialect_file if dialect_file.is_file() else folder / f"{name}.sql").read_text("utf-8")


def _alembic(connection: sa.Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files(sql) / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _drop_views(connection: sa.Connection) -> None:
    existing = set(sa.inspect(connection).get_view_names())  # before revision 0015 some of these names are tables
    for name in reversed(VIEWS):
        if name in existing:
            connection.exec_driver_sql(f"drop view {name}")


def _create_views(connection: sa.Connection) -> None:
    dialect = connection.dialect.name
    for name in VIEWS:
        run_script(connection, view_sql(name, dialect))


def script(name: str) -> str:
    """The text of a script of PostgreSQL statements: `comments`, `grants` or `roles`."""
    return (files(sql) / f"{name}.postgresql.sql").read_text("utf-8")


def run_script(connection: sa.Connection, script: str) -> None:
    """Execute a script without parameters; in SQLite it has one statement."""
    connection.exec_driver_sql(script.replace("%", "%%") if connection.dialect.name == "postgresql" else script)
