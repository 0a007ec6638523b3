"""Engines and transactions of the two databases."""

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
from pipeline.storage.statements import Spent, Transaction
from pipeline.text import without_secrets

#: the drivers that are installed, by what a URL may call them
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
#: SQLite's errors about the file and its locks
_SQLITE_AWAY = tuple(
    f"SQLITE_{name}"
    for name in ("BUSY", "CANTOPEN", "CORRUPT", "FULL", "IOERR", "LOCKED", "NOTADB", "PERM", "READONLY")
)
#: PostgreSQL's insufficient_privilege
_NOT_ALLOWED = "42501"
_EXPECTED_URL = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"


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
        with self.reachable(), self.engine.connect() as connection:
            with self.spent.counting():
                transaction = connection.begin()
            with transaction:
                yield Transaction(connection, self.spent)
                with self.spent.counting():
                    transaction.commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads and waits for no writer's lock."""
        with self.reachable(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield Transaction(connection, self.spent)

    def close(self) -> None:
        """Give back the connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def reachable(self) -> Iterator[None]:
        """Translate errors of the connection.

        Raises:
            NotAllowed: the database refuses a statement to this user.
            DatabaseUnavailable: it cannot be reached, or went away.
        """
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
