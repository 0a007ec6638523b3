"""Connections and transactions of SQLite and PostgreSQL."""

from __future__ import annotations

import array
import contextlib
import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument, NotAllowed
from pipeline.storage.statements import SqlTimer, Transaction
from pipeline.text import list_names, without_secrets

#: the installed drivers, by the names that a URL may use
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
#: the beginnings of the names of SQLite's errors about the file and its locks
_SQLITE_UNAVAILABLE = tuple(
    f"SQLITE_{name}"
    for name in ("BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOTADB", "PERM", "READONLY")
)
#: options of a PostgreSQL URL that may have a value for each of several hosts
_BY_HOST = ("host", "hostaddr", "port")
#: PostgreSQL's codes of statements that it refuses until a person changes something, and what that is
_REFUSALS = {
    "42501": "",
    "25006": ": a standby, or default_transaction_read_only is on for this role or database; behind several hosts, "
    "target_session_attrs=read-write in the URL finds the one that can be written to",
    "22P05": ": expected a database with the encoding UTF8",
}
#: the schema of the store: the first one of the search path that has it, otherwise the only one that has it
_FIND_SCHEMA = """
select case when count(place) > 0 or count(*) = 1 then (array_agg(nspname order by place, nspname))[1] end
from (
  select nspname, array_position(current_schemas(false), nspname) as place
  from pg_class join pg_namespace on pg_namespace.oid = relnamespace
  where relname = 'schema_version' and relkind = 'r'
) as schemas"""
#: what a role or a database may set otherwise: how dates, zones and numbers are written, and that a commit is on disk
_SET = """
select set_config('datestyle', 'ISO, MDY', true), set_config('timezone', 'UTC', true),
  set_config('intervalstyle', 'postgres', true), set_config('standard_conforming_strings', 'on', true),
  set_config('extra_float_digits', '1', true), set_config('transform_null_equals', 'off', true),
  set_config('synchronous_commit', coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), true),
  set_config('search_path', format('%%I, pg_temp', %s::text), true)"""
_EXPECTED_URL = (
    "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME; several hosts are written "
    "postgresql+psycopg://USER@/NAME?host=HOST:PORT&host=HOST:PORT"
)


@dataclass(frozen=True)
class Database:
    """One SQLite file or PostgreSQL database."""

    url: sa.URL
    timer: SqlTimer = field(default_factory=SqlTimer, compare=False)
    #: whether the database itself refuses every change over these connections
    is_read_only: bool = False

    @property
    def shown(self) -> str:
        """The address without its password."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @cached_property
    def engine(self) -> sa.Engine:
        """The connection pool."""
        if self.url.get_backend_name() == "sqlite":
            return _sqlite_engine(self.url, is_read_only=self.is_read_only)
        return _postgresql_engine(self.url, is_read_only=self.is_read_only)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Begin a transaction that is committed at the end of the block, or rolled back by an error.

        Raises:
            DatabaseUnavailable: the database cannot be reached, or went away.
        """
        with self.reachable(), self.engine.connect() as connection:
            with self.timer.measure():
                transaction = connection.begin()
            with transaction:
                yield Transaction(connection, self.timer)
                with self.timer.measure():
                    transaction.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Begin a transaction that only reads; it waits for no writer."""
        with self.reachable(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield Transaction(connection, self.timer)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def reachable(self) -> Iterator[None]:
        """Raise errors of the connection as errors of ours.

        Raises:
            NotAllowed: this user, or this database, does not allow a statement.
            DatabaseUnavailable: it cannot be reached, or went away.
        """
        try:
            yield
        except sa.exc.DBAPIError as error:
            cause = (str(error.orig).strip().splitlines() or [str(error)])[0]
            remedy = _REFUSALS.get(getattr(error.orig, "sqlstate", None) or "")
            if remedy is not None:
                raise NotAllowed(f"the database {self.shown} refuses: {cause}{remedy}") from error
            if not _is_unavailable(error):
                raise
            raise DatabaseUnavailable(
                f"the database {self.shown} cannot be reached or used: {cause}; "
                "check NEXTPERIOD_DATABASE_URL and that the server is up"
            ) from error


def open_database(url: str) -> Database:
    """The database at an SQLAlchemy URL; no connection is opened yet.

    Raises:
        InvalidArgument: it is not a URL of SQLite or PostgreSQL.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidArgument(f"NEXTPERIOD_DATABASE_URL is not a database URL: expected {_EXPECTED_URL}") from None
    if parsed.drivername not in _DRIVERS:
        raise InvalidArgument(f"NEXTPERIOD_DATABASE_URL begins with {parsed.drivername}: expected {_EXPECTED_URL}")
    parsed = parsed.set(drivername=_DRIVERS[parsed.drivername])
    if parsed.get_backend_name() == "postgresql":
        _check_postgresql_options(parsed)
    return Database(parsed)


def open_for_reading(url: str) -> Database:
    """The database at an SQLAlchemy URL, of which nothing can be changed; no SQLite file is created.

    Raises:
        InvalidArgument: it is not a URL of SQLite or PostgreSQL.
        DatabaseUnavailable: there is no such SQLite file.
    """
    database = replace(open_database(url), is_read_only=True)
    file = _sqlite_file(database.url)
    if file is not None and not file.exists():
        raise DatabaseUnavailable(
            f"there is no store at {database.shown}: run `nextperiod run RECIPE` first, or set NEXTPERIOD_DATABASE_URL"
        )
    return database


def _sqlite_file(url: sa.URL) -> Path | None:
    """The file of an SQLite URL; None: it is another database, in memory, or written as `file:`."""
    path = url.database
    is_path = url.get_backend_name() == "sqlite" and path and path != ":memory:" and not path.startswith("file:")
    return Path(path) if is_path and path else None


def _check_postgresql_options(url: sa.URL) -> None:
    """Check the names of the options after the `?` of a PostgreSQL URL, before anything is connected.

    Raises:
        InvalidArgument: libpq does not know an option, it is given twice, or its value is one that nothing works with.
    """
    from psycopg import pq

    known = {"prepare_threshold", *(option.keyword.decode() for option in pq.Conninfo.get_defaults())}
    unknown = sorted(set(url.query) - known)
    if unknown:
        raise InvalidArgument(
            f"the database URL has the option {unknown[0]}, which is not known: expected {list_names(sorted(known))}"
        )
    repeated = next(
        (name for name, value in url.query.items() if not isinstance(value, str) and name not in _BY_HOST), None
    )
    if repeated:
        raise InvalidArgument(f"the database URL has the option {repeated} more than once: expected it once")
    encoding = str(url.query.get("client_encoding", "UTF8"))
    if re.sub(r"\W|_", "", encoding).lower() not in ("utf8", "unicode"):
        raise InvalidArgument(f"the database URL has client_encoding={encoding}: expected UTF8, or no such option")
    _read_prepare_threshold(url)


def _postgresql_arguments(url: sa.URL) -> dict[str, Any]:
    """What the driver needs beside a URL; options of the URL itself win.

    No statement is prepared unless the URL asks for it: behind a pooler that gives each transaction another session,
    such as pgbouncer, a prepared statement is missing there or is somebody else's.
    """
    defaults = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000, "client_encoding": "UTF8"}
    options = {name: value for name, value in defaults.items() if name not in url.query}
    return {**options, "prepare_threshold": _read_prepare_threshold(url)}


def _read_prepare_threshold(url: sa.URL) -> int | None:
    """Return after how many executions a statement is prepared, at least one; None: never.

    A script of several statements cannot be prepared, and is executed once.
    """
    text = url.query.get("prepare_threshold", "None")
    if isinstance(text, str) and (text in ("", "None") or text.isdecimal()):
        return max(int(text), 1) if text.isdecimal() else None
    raise InvalidArgument(
        f"the database URL has prepare_threshold={text}: expected None or the number of executions after which a "
        "statement is prepared"
    )


def _postgresql_engine(url: sa.URL, *, is_read_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        url.difference_update_query(["prepare_threshold"]),
        connect_args=_postgresql_arguments(url),
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
    )
    sa.event.listen(engine, "begin", _PostgresqlSettings().apply)
    if is_read_only:
        sa.event.listen(engine, "begin", _refuse_changes)
    return engine


def _refuse_changes(connection: sa.Connection) -> None:
    connection.exec_driver_sql("set transaction read only")


@dataclass(slots=True)
class _PostgresqlSettings:
    """Sets what our statements rely on, whatever the role or the database has, at the beginning of each transaction.

    For a session it would be set in vain: a pooler may give the next transaction another one.
    """

    #: where the store is, once it exists
    _schema: str | None = None

    def apply(self, connection: sa.Connection) -> None:
        if self._schema is None:
            self._schema = connection.exec_driver_sql(_FIND_SCHEMA).scalar()
        schema = self._schema or connection.exec_driver_sql("select coalesce(current_schema(), 'public')").scalar_one()
        connection.exec_driver_sql(_SET, (schema,))


def _is_unavailable(error: sa.exc.DBAPIError) -> bool:
    """Whether an error is about the database as a whole, and not about one statement."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorname", "")
        return code.startswith(_SQLITE_UNAVAILABLE)
    is_connecting = error.statement is None
    return is_connecting or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def _sqlite_engine(url: sa.URL, *, is_read_only: bool = False) -> sa.Engine:
    file = _sqlite_file(url)
    if is_read_only and file is not None:  # not "ro": it could not open a log that is not there yet
        url = url.set(database=f"file:{quote(str(file))}", query={**url.query, "mode": "rw", "uri": "true"})
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    sa.event.listen(engine, "connect", _on_sqlite_connect_to_read if is_read_only else _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


class _PackedAggregate:
    """SQLite aggregate `packed`: the bytes of all numbers of a group, which are read faster than their rows."""

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
    _add_functions(connection)


def _on_sqlite_connect_to_read(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("query_only = on", "busy_timeout = 30000"):
        connection.execute(f"pragma {pragma}")
    _add_functions(connection)


def _add_functions(connection: sqlite3.Connection) -> None:
    connection.create_aggregate("packed", 1, _PackedAggregate)  # type: ignore[arg-type]  # its stub knows whole numbers only


def sqlite_journal(version: tuple[int, ...]) -> tuple[str, str]:
    """The pragmas of the journal with which this version of SQLite loses no commit in a power cut.

    Write-ahead logging, but not in versions before 3.51.3 (3.50.7 and 3.44.6 on their branches), which may corrupt a
    log that is reset.
    """
    has_safe_wal = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return (
        ("journal_mode = wal", "synchronous = full")
        if has_safe_wal
        else ("journal_mode = delete", "synchronous = extra")
    )


def _on_sqlite_begin(connection: sa.Connection) -> None:
    deferred = connection.get_execution_options().get("only_reads", False)
    connection.exec_driver_sql("begin" if deferred else "begin immediate")
