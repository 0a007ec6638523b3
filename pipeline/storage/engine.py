"""Connections and transactions of SQLite and PostgreSQL."""

from __future__ import annotations

import array
import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument, NotAllowed
from pipeline.storage.statements import SqlTimer, Transaction
from pipeline.text import without_secrets

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
#: PostgreSQL's code of insufficient_privilege
_NOT_ALLOWED = "42501"
_EXPECTED_URL = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


@dataclass(frozen=True)
class Database:
    """One SQLite file or PostgreSQL database."""

    url: sa.URL
    timer: SqlTimer = field(default_factory=SqlTimer, compare=False)

    @property
    def shown(self) -> str:
        """The address without its password."""
        return without_secrets(self.url.render_as_string(hide_password=True))

    @cached_property
    def engine(self) -> sa.Engine:
        """The connection pool."""
        if self.url.get_backend_name() == "sqlite":
            return _sqlite_engine(self.url)
        options = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 30_000}
        return sa.create_engine(self.url, connect_args=options, pool_pre_ping=True)

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
            NotAllowed: this user may not execute a statement.
            DatabaseUnavailable: it cannot be reached, or went away.
        """
        try:
            yield
        except sa.exc.DBAPIError as error:
            cause = (str(error.orig).strip().splitlines() or [str(error)])[0]
            if getattr(error.orig, "sqlstate", None) == _NOT_ALLOWED:
                raise NotAllowed(f"the database {self.shown} refuses: {cause}") from error
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
    return Database(parsed.set(drivername=_DRIVERS[parsed.drivername]))


def _is_unavailable(error: sa.exc.DBAPIError) -> bool:
    """Whether an error is about the database as a whole, and not about one statement."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorname", "")
        return code.startswith(_SQLITE_UNAVAILABLE)
    is_connecting = error.statement is None
    return is_connecting or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError)


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    sa.event.listen(engine, "connect", _on_sqlite_connect)
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
