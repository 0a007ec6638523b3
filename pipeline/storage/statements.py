"""Named queries: executed in a transaction, with the same types of values in both databases.

Each query is a file in a folder of `sql/queries`, called by the file's name. Lines such as
`-- columns: recorded_at instant` declare which of its parameters and columns are instants (aware datetimes in UTC) and
which are periods (`datetime64[us]`); all others have the driver's types.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import sqlalchemy as sa

import sql

Row = Mapping[Any, Any]

#: the exceptions of every driver that SQLAlchemy wraps
_DBAPI_ERRORS = (
    "DataError",
    "IntegrityError",
    "OperationalError",
    "InterfaceError",
    "InternalError",
    "ProgrammingError",
    "NotSupportedError",
    "DatabaseError",
)

#: characters of a long statement that an error shows
_SHOWN_CHARACTERS = 200

_INSTANT_TEXT = "%Y-%m-%d %H:%M:%S.%f+00:00"


class Instant(sa.types.TypeDecorator[datetime]):
    """An aware datetime, in UTC in both databases; a naive one is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Return text of fixed width in SQLite, so that the order of texts is the order of times."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Convert for the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: an instant needs one")
        utc = value.astimezone(UTC)
        return utc.strftime(_INSTANT_TEXT) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Convert from the database."""
        if value is None:
            return None
        return (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)


class Period(sa.types.TypeDecorator[np.datetime64]):
    """The start of a period: `datetime64[us]`, in UTC without a zone in both databases."""

    impl = sa.DateTime(timezone=False)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        """Return text in SQLite; a midnight is a date, so comparisons with a date give the same rows as in PostgreSQL."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.DateTime(timezone=False))

    def process_bind_param(self, value: np.datetime64 | None, dialect: sa.Dialect) -> Any:
        """Convert for the database."""
        if value is None:
            return None
        return sqlite_period(value) if dialect.name == "sqlite" else value.astype("datetime64[us]").item()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> np.datetime64 | None:
        """Convert from the database."""
        return None if value is None else np.datetime64(value, "us")


#: the types that a query may declare
_TYPES: dict[str, type[Instant] | type[Period]] = {"instant": Instant, "period": Period}


@dataclass(slots=True)
class SqlTimer:
    """Seconds spent on a database's statements so far: sending them, waiting, and fetching the results."""

    seconds: float = 0.0

    @contextlib.contextmanager
    def measure(self) -> Iterator[None]:
        """Add the time that the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Transaction:
    """Executes queries by name in one transaction."""

    connection: sa.Connection
    timer: SqlTimer = field(default_factory=SqlTimer)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return str(self.connection.dialect.name)

    def rows(self, query: str, **parameters: Any) -> Sequence[Row]:
        """All rows of a query."""
        with self.timer.measure():
            return self._run(query, parameters).mappings().all()

    def columns(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """The result of a query as one tuple a column, for many rows; an empty list if there are no rows."""
        with self.timer.measure():
            return list(zip(*self._run(query, parameters).all(), strict=True))

    def row(self, query: str, **parameters: Any) -> Row | None:
        """The first row of a query; None if there is none."""
        with self.timer.measure():
            return self._run(query, parameters).mappings().first()

    def one(self, query: str, **parameters: Any) -> Row:
        """The first row of a query that always has one.

        Raises:
            LookupError: it has none.
        """
        row = self.row(query, **parameters)
        if row is None:
            raise LookupError(f"query {query} returned no row for {parameters}")
        return row

    def execute(self, query: str, **parameters: Any) -> int:
        """Execute a statement; the number of rows that it changed."""
        with self.timer.measure():
            return int(self._run(query, parameters).rowcount)

    def execute_many(self, query: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Execute a statement once for each set of parameters."""
        if not parameters:
            return
        with self.timer.measure():
            self.connection.execute(_statement(query, self.dialect), list(parameters))

    @contextlib.contextmanager
    def copy(self, statement: str) -> Iterator[Callable[[bytes], None]]:
        """Begin a PostgreSQL `copy ... from stdin`; the function that takes its bytes."""
        timer, translate_errors = self.timer.measure(), _raise_as_sqlalchemy(statement)
        with timer, self._driver().cursor() as cursor, translate_errors, cursor.copy(statement) as copy:
            yield copy.write

    def fetch_binary_blocks(self, statement: str, parameters: Row, *, size: int) -> Iterator[list[list[bytes | None]]]:
        """A PostgreSQL result in blocks of `size` rows, each a list of undecoded fields for each column."""
        with self._driver().cursor(binary=True) as cursor, _raise_as_sqlalchemy(statement):
            with self.timer.measure():
                cursor.execute(f"declare wanted no scroll cursor for {statement}", parameters)
            while True:
                with self.timer.measure():
                    result = cursor.execute(f"fetch forward {size} from wanted").pgresult
                    rows = range(result.ntuples)
                    columns = [[result.get_value(row, n) for row in rows] for n in range(result.nfields)]
                if result.ntuples == 0:
                    break
                yield columns
            cursor.execute("close wanted")

    def insert_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute an SQLite insert for each tuple of parameters, by the driver alone, which is faster."""
        with self.timer.measure(), _raise_as_sqlalchemy(statement[:_SHOWN_CHARACTERS]):
            self._driver().executemany(statement, rows)

    def fetch_blocks(self, statement: str, parameters: Row, *, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """An SQLite result in blocks of `size` rows."""
        with (
            _raise_as_sqlalchemy(statement),
            contextlib.closing(self._driver().execute(statement, parameters)) as cursor,
        ):
            while True:
                with self.timer.measure():
                    rows = cursor.fetchmany(size)
                if not rows:
                    break
                yield rows

    def _driver(self) -> Any:
        self.connection.exec_driver_sql("select 1")  # begins the transaction, if nothing has yet
        return self.connection.connection.driver_connection

    def _run(self, query: str, parameters: Mapping[str, Any]) -> sa.CursorResult[Any]:
        return self.connection.execute(_statement(query, self.dialect), parameters)


@contextlib.contextmanager
def _raise_as_sqlalchemy(statement: str) -> Iterator[None]:
    """Raise errors of the driver as SQLAlchemy does for the other statements."""
    try:
        yield
    except Exception as error:
        names = [base.__name__ for base in type(error).__mro__ if base.__name__ in _DBAPI_ERRORS]
        if not names or isinstance(error, sa.exc.SQLAlchemyError):
            raise
        raise getattr(sa.exc, names[0])(statement, None, error) from error


def sqlite_period(period: np.datetime64) -> str:
    """A period as SQLite stores it: 2026-11-22 for a midnight, otherwise 2026-11-22 06:30:00."""
    text: str = period.astype("datetime64[us]").item().isoformat(" ")
    return text.removesuffix(" 00:00:00")


@lru_cache(maxsize=1)
def query_files() -> dict[str, Traversable]:
    """The files of all queries by name without `.sql`: `run` for both dialects, `clock.sqlite` for one."""
    folders = (folder for folder in (files(sql) / "queries").iterdir() if folder.is_dir())
    paths = (path for folder in folders if folder.name != "examples" for path in folder.iterdir())
    return {path.name.removesuffix(".sql"): path for path in paths if path.name.endswith(".sql")}


@lru_cache(maxsize=256)
def query_text(name: str, dialect: str) -> str:
    """The text of a query: the file of the dialect if there is one, otherwise the common file."""
    paths = query_files()
    return (paths.get(f"{name}.{dialect}") or paths[name]).read_text("utf-8")


@lru_cache(maxsize=256)
def _statement(name: str, dialect: str) -> sa.TextClause | sa.TextualSelect:
    text = query_text(name, dialect)
    parameters, columns = _declared_types(text, "parameters"), _declared_types(text, "columns")
    clause = sa.text(text).bindparams(*(sa.bindparam(key, type_=type_) for key, type_ in parameters.items()))
    return clause.columns(**columns) if columns else clause


def _declared_types(text: str, keyword: str) -> dict[str, Instant | Period]:
    """The types in a query's line `-- parameters: …` or `-- columns: …`, by name."""
    line = re.search(rf"^-- {keyword}: (.+)$", text, re.MULTILINE)
    pairs = (pair.split() for pair in line[1].split(", ")) if line else ()
    return {name: _TYPES[type_name]() for name, type_name in pairs}
