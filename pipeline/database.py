"""Engines, transactions and the schema of the two databases."""

from __future__ import annotations

import array
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from typing import Any

import sqlalchemy as sa

from pipeline.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    NotAllowed,
    SchemaOutOfDate,
    SchemaTooNew,
    without_secrets,
)
from pipeline.statements import Spent, Transaction

#: the newest migration; a test holds it against the folder
REVISION = "0007"
VERSION_TABLE = "schema_version"
#: in the order in which they build on each other
VIEWS = (
    "latest_forecasts",
    "forecast_history",
    "current_observations",
    "forecast_accuracy",
    "anomalies",
    "recipe_status",
    "rejected_observations",
    "latest_paths",
)

#: the drivers that are installed, by what a URL may call them
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
#: Alembic works on globals: one migration at a time in a process
_ONE_MIGRATION = threading.Lock()
#: SQLite's errors about the file and its locks
_SQLITE_AWAY = tuple(
    f"SQLITE_{name}"
    for name in ("BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOTADB", "PERM", "READONLY")
)
#: PostgreSQL's insufficient_privilege
_NOT_ALLOWED = "42501"
_EXPECTED_URL = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


#: what is made belongs to who owns the rest, where we may act as that role
_AS_OWNER = """
select set_config('role', pg_roles.rolname, true) from pg_class join pg_roles on pg_roles.oid = pg_class.relowner
where pg_class.oid = to_regclass('schema_version') and pg_has_role(pg_roles.oid, 'member')"""


@dataclass(frozen=True)
class Database:
    """One SQLite file or PostgreSQL database."""

    url: sa.URL
    spent: Spent = field(default_factory=Spent, compare=False)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @cached_property
    def engine(self) -> sa.Engine:
        """The pool of connections."""
        if self.url.get_backend_name() == "sqlite":
            return _sqlite_engine(self.url)
        options = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
        return sa.create_engine(self.url, connect_args=options, pool_pre_ping=True)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that is committed at the end, or rolled back by an error.

        Raises:
            DatabaseUnavailable: the database cannot be reached, or went away.
        """
        with self._reachable(), self.engine.connect() as connection:
            with self.spent.counting():
                transaction = connection.begin()
            with transaction:
                yield Transaction(connection, self.spent)
                with self.spent.counting():
                    transaction.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads and waits for no writer's lock."""
        with self._reachable(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield Transaction(connection, self.spent)

    def close(self) -> None:
        """Give back the connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            cause = (str(error.orig).strip().splitlines() or [str(error)])[0]
            if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED:
                raise NotAllowed(f"the database {self.shown} refuses: {cause}") from error
            if not _is_away(error):
                raise
            raise DatabaseUnavailable(
                f"the database {self.shown} cannot be reached or used: {cause}; "
                "check NEXTPERIOD_DATABASE_URL and that the server is up"
            ) from error

    def revision(self) -> str | None:
        """The schema's revision; None in a database without one."""
        with self.read() as transaction:
            return _revision(transaction.connection)

    def require_schema(self) -> None:
        """Make the schema in an empty database; otherwise refuse one that is not the code's own.

        Raises:
            SchemaOutOfDate: it is older: `nextperiod db upgrade` brings it up.
            SchemaTooNew: it is newer: the code has to be brought up.
        """
        revision = self.revision()
        if revision is None:
            self.upgrade()
        elif revision < REVISION:
            raise SchemaOutOfDate(
                f"the schema of {self.shown} is at revision {revision}, this nextperiod needs {REVISION}: "
                "run `nextperiod db upgrade`"
            )
        else:
            self._refuse_newer(revision)

    def upgrade(self) -> None:
        """Bring the schema up to the code's revision; nothing happens where it is there already.

        Raises:
            SchemaTooNew: it is newer than the code.
        """
        from alembic import command

        with _ONE_MIGRATION, self._migration() as connection:
            revision = _revision(connection)
            self._refuse_newer(revision)
            if revision != REVISION:
                _drop_views(connection)
                command.upgrade(_alembic(connection), "head")
                _make_views(connection)
                if connection.dialect.name == "postgresql":
                    for name in ("comments", "grants"):
                        run_script(connection, script(name))

    @contextlib.contextmanager
    def _migration(self) -> Iterator[sa.Connection]:
        """A transaction of our own, in which SQLite's tables may be made again under the eyes of what refers to them."""
        sqlite = self.url.get_backend_name() == "sqlite"
        with self._reachable(), self.engine.connect() as connection:
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
                        raise SchemaOutOfDate(f"{self.shown} holds rows that refer to nothing: it was left as it was")
            finally:
                if sqlite and driver is not None:
                    driver.execute("pragma foreign_keys = on")

    def _refuse_newer(self, revision: str | None) -> None:
        if revision is not None and revision > REVISION:
            raise SchemaTooNew(
                f"the schema of {self.shown} is at revision {revision}, newer than this nextperiod knows ({REVISION}): "
                "install the version that made it"
            )


def open_database(url: str) -> Database:
    """The database at an SQLAlchemy URL; nothing is connected yet.

    Raises:
        InvalidArgument: it is no URL, or of another database than SQLite or PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidArgument(f"NEXTPERIOD_DATABASE_URL is not a database URL: expected {_EXPECTED_URL}") from None
    if parsed.drivername not in _DRIVERS:
        raise InvalidArgument(f"NEXTPERIOD_DATABASE_URL begins with {parsed.drivername}: expected {_EXPECTED_URL}")
    return Database(parsed.set(drivername=_DRIVERS[parsed.drivername]))


def _is_away(error: sa.exc.DBAPIError) -> bool:
    """Whether the database is the trouble, and not a statement of ours."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorname", "")
        return code.startswith(_SQLITE_AWAY)
    connecting = error.statement is None
    return connecting or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sa.text(f"select version_num from {VERSION_TABLE}")).scalar()
    return None if found is None else str(found)


def view_sql(name: str, dialect: str) -> str:
    """The statement that makes one view."""
    folder = files("sql") / "views"
    own = folder / f"{name}.{dialect}.sql"
    return (own if own.is_file() else folder / f"{name}.sql").read_text("utf-8")


def _alembic(connection: sa.Connection) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("sql") / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _drop_views(connection: sa.Connection) -> None:
    for name in reversed(VIEWS):
        connection.exec_driver_sql(f"drop view if exists {name}")


def _make_views(connection: sa.Connection) -> None:
    dialect = connection.dialect.name
    for name in VIEWS:
        run_script(connection, view_sql(name, dialect))


def script(name: str) -> str:
    """Statements for PostgreSQL that belong together."""
    return (files("sql") / f"{name}.postgresql.sql").read_text("utf-8")


def run_script(connection: sa.Connection, script: str) -> None:
    """Carry out a statement, on PostgreSQL also several of them, with no sign of it taken for a parameter."""
    connection.exec_driver_sql(script.replace("%", "%%") if connection.dialect.name == "postgresql" else script)


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    sa.event.listen(engine, "connect", _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


class _Packing:
    """SQLite's aggregate `packed`: the bytes of many numbers as one value, which is read faster than their rows."""

    __slots__ = ("finalize", "step")

    def __init__(self) -> None:
        numbers = array.array("d")
        self.step = numbers.append
        self.finalize = numbers.tobytes


def _on_sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "foreign_keys = on",
        "recursive_triggers = on",
        "busy_timeout = 30000",
        *sqlite_journal(sqlite3.sqlite_version_info),
    ):
        connection.execute(f"pragma {pragma}")
    connection.create_aggregate("packed", 1, _Packing)  # type: ignore[arg-type]  # its stub knows whole numbers only


def sqlite_journal(version: tuple[int, ...]) -> tuple[str, str]:
    """The journal that keeps an acknowledged commit through a power cut with this SQLite.

    Versions before 3.51.3 (3.50.7 and 3.44.6 on their branches) may corrupt a WAL that is reset.
    """
    sound = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return ("journal_mode = wal", "synchronous = full") if sound else ("journal_mode = delete", "synchronous = extra")


def _on_sqlite_begin(connection: sa.Connection) -> None:
    deferred = connection.get_execution_options().get("only_reads", False)
    connection.exec_driver_sql("begin" if deferred else "begin immediate")
