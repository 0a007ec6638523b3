"""Engines, transactions and the schema: the only code that knows the two dialects.

Statements are files in `sql/queries`, one each. A parameter or a column is an instant if its name
ends in `_at` or is `as_of` or `expected_next_by`, and a period if it is `period`, `origin`,
`latest_origin` or `cutoff`: instants are aware datetimes in UTC, periods are `datetime64[us]`.
"""

from __future__ import annotations

import contextlib
import io
import re
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.errors import DatabaseUnavailable, InvalidArgument, SchemaOutOfDate, SchemaTooNew, without_secrets

#: the newest migration; a test holds it against the folder
REVISION = "0001"
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
_EXPECTED_URL = "sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"

Row = Mapping[Any, Any]

_INSTANTS = {"as_of", "expected_next_by"}
_PERIODS = {"period", "origin", "latest_origin", "cutoff"}
_INSTANT_TEXT = "%Y-%m-%d %H:%M:%S.%f+00:00"


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime; UTC in both databases. Naive ones are refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Text of fixed width in SQLite, so that text order is time order."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no zone: an instant needs one")
        utc = value.astimezone(UTC)
        return utc.strftime(_INSTANT_TEXT) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """From the database."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


class Period(sa.types.TypeDecorator[np.datetime64]):
    """The start of a period: `datetime64[us]`, UTC without zone in both databases."""

    impl = sa.DateTime(timezone=False)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Text in SQLite, a midnight as its day alone: comparing with a day gives what PostgreSQL gives."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.DateTime(timezone=False))

    def process_bind_param(self, value: np.datetime64 | None, dialect: sa.Dialect) -> Any:
        """To the database."""
        if value is None:
            return None
        moment = value.astype("datetime64[us]").item()
        return moment.isoformat(" ").removesuffix(" 00:00:00") if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> np.datetime64 | None:
        """From the database."""
        return None if value is None else np.datetime64(value, "us")


@dataclass(frozen=True, slots=True)
class Transaction:
    """Statements by name, inside one transaction."""

    connection: sa.Connection

    def rows(self, query: str, **parameters: Any) -> Sequence[Row]:
        """All rows of a query."""
        return self.connection.execute(_statement(query), parameters).mappings().all()

    def row(self, query: str, **parameters: Any) -> Row | None:
        """The first row of a query, if any."""
        return self.connection.execute(_statement(query), parameters).mappings().first()

    def execute(self, query: str, **parameters: Any) -> int:
        """Carry out a statement; the number of rows it touched."""
        return self.connection.execute(_statement(query), parameters).rowcount

    def execute_many(self, query: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Carry out a statement once for each set of parameters."""
        if parameters:
            self.connection.execute(_statement(query), list(parameters))


@dataclass(frozen=True)
class Database:
    """One SQLite file or PostgreSQL database."""

    url: sa.URL

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
        with self._reachable(), self.engine.begin() as connection:
            yield Transaction(connection)

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that only reads and waits for no writer's lock."""
        with self._reachable(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield Transaction(connection)

    def close(self) -> None:
        """Give back the connections."""
        self.engine.dispose()

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            if not _is_away(error):
                raise
            cause = str(error.orig).strip().splitlines()
            raise DatabaseUnavailable(
                f"the database {self.shown} cannot be reached or used: {cause[0] if cause else error}; "
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

        with _ONE_MIGRATION, self.write() as transaction:
            if transaction.connection.dialect.name == "postgresql":
                transaction.connection.execute(sa.text("select pg_advisory_xact_lock(hashtext('nextperiod schema'))"))
            revision = _revision(transaction.connection)
            self._refuse_newer(revision)
            if revision != REVISION:
                command.upgrade(_alembic(connection=transaction.connection), "head")
                _make_views(transaction.connection)

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


def schema_sql(dialect: str) -> str:
    """The whole schema as SQL, as `sql/schema.<dialect>.sql` shows it."""
    from alembic import command

    buffer = io.StringIO()
    command.upgrade(_alembic(dialect=dialect, output_buffer=buffer), "head", sql=True)
    made = "\n".join(line for line in buffer.getvalue().splitlines() if not line.startswith(("BEGIN", "COMMIT", "--")))
    views = "\n".join(f"{view_sql(name, dialect).strip()};\n" for name in VIEWS)
    return re.sub(r"\n{3,}", "\n\n", f"{made}\n\n{views}").strip() + "\n"


def view_sql(name: str, dialect: str) -> str:
    """The statement that makes one view."""
    folder = files("sql") / "views"
    own = folder / f"{name}.{dialect}.sql"
    return (own if own.is_file() else folder / f"{name}.sql").read_text("utf-8")


def _alembic(*, output_buffer: io.StringIO | None = None, **attributes: Any) -> Any:
    from alembic.config import Config

    config = Config(output_buffer=output_buffer)
    config.set_main_option("script_location", str(files("sql") / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes.update(attributes)
    return config


def _make_views(connection: sa.Connection) -> None:
    for name in reversed(VIEWS):
        connection.execute(sa.text(f"drop view if exists {name}"))
    for name in VIEWS:
        connection.exec_driver_sql(
            view_sql(name, connection.dialect.name).replace(
                "%", "%%" if connection.dialect.name == "postgresql" else "%"
            )
        )


@lru_cache(maxsize=256)
def _statement(name: str) -> sa.TextClause | sa.TextualSelect:
    clause = sa.text((files("sql") / "queries" / f"{name}.sql").read_text("utf-8"))
    typed = [sa.bindparam(key, type_=kind) for key in clause._bindparams if (kind := _type_of(key)) is not None]
    columns = {key: kind for key in re.findall(r"\w+", clause.text) if (kind := _type_of(key)) is not None}
    clause = clause.bindparams(*typed)
    if re.match(r"\s*(--.*\n)*\s*select", clause.text) or "returning" in clause.text:
        starred = {
            key: kind for key in (*_INSTANTS, *_PERIODS, *_INSTANT_COLUMNS) if (kind := _type_of(key)) is not None
        }
        return clause.columns(**columns, **{key: kind for key, kind in starred.items() if key not in columns})
    return clause


#: instants that a `select *` brings
_INSTANT_COLUMNS = ("recorded_at", "published_at", "trained_at", "last_attempt_at")


def _type_of(name: str) -> sa.types.TypeDecorator[Any] | None:
    if name in _PERIODS:
        return Period()
    if name in _INSTANTS or name.endswith("_at"):
        return Instant()
    return None


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
    sa.event.listen(engine, "connect", _on_sqlite_connect)
    sa.event.listen(engine, "begin", _on_sqlite_begin)
    return engine


def _on_sqlite_connect(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("foreign_keys = on", "busy_timeout = 30000", *sqlite_journal(sqlite3.sqlite_version_info)):
        connection.execute(f"pragma {pragma}")


def sqlite_journal(version: tuple[int, ...]) -> tuple[str, str]:
    """The journal that keeps an acknowledged commit through a power cut with this SQLite.

    Versions before 3.51.3 (3.50.7 and 3.44.6 on their branches) may corrupt a WAL that is reset.
    """
    sound = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return ("journal_mode = wal", "synchronous = full") if sound else ("journal_mode = delete", "synchronous = extra")


def _on_sqlite_begin(connection: sa.Connection) -> None:
    deferred = connection.get_execution_options().get("only_reads", False)
    connection.exec_driver_sql("begin" if deferred else "begin immediate")
