"""Statements by name, inside one transaction: what travels in and out of the two databases, and how.

Statements are files in the folders of `sql/queries`, one each, with names of their own. A file declares which of its parameters and columns are instants
(aware datetimes in UTC) and which are periods (`datetime64[us]`), in lines such as `-- columns: recorded_at instant`;
everything else travels as the driver gives it.
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

Row = Mapping[Any, Any]

#: kinds of error that every driver has and SQLAlchemy wraps
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

#: signs of a statement that an error shows
_SHOWN = 200

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
        return period_text(value) if dialect.name == "sqlite" else value.astype("datetime64[us]").item()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> np.datetime64 | None:
        """From the database."""
        return None if value is None else np.datetime64(value, "us")


#: what a query may declare of its parameters and columns
_TYPES: dict[str, type[Instant] | type[Period]] = {"instant": Instant, "period": Period}


@dataclass(slots=True)
class Spent:
    """What all statements of a database took so far, as seen from here: sending, waiting, and reading what comes."""

    seconds: float = 0.0

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        """What is inside counts."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class Transaction:
    """Statements by name, inside one transaction."""

    connection: sa.Connection
    spent: Spent = field(default_factory=Spent)

    @property
    def dialect(self) -> str:
        """sqlite or postgresql."""
        return str(self.connection.dialect.name)

    def rows(self, query: str, **parameters: Any) -> Sequence[Row]:
        """All rows of a query."""
        with self.spent.counting():
            return self._carry_out(query, parameters).mappings().all()

    def columns(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """A query's result by columns, for many rows; empty without any."""
        with self.spent.counting():
            return list(zip(*self._carry_out(query, parameters).all(), strict=True))

    def row(self, query: str, **parameters: Any) -> Row | None:
        """The first row of a query, if any."""
        with self.spent.counting():
            return self._carry_out(query, parameters).mappings().first()

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
        """Carry out a statement; the number of rows it touched."""
        with self.spent.counting():
            return int(self._carry_out(query, parameters).rowcount)

    def execute_many(self, query: str, parameters: Sequence[Mapping[str, Any]]) -> None:
        """Carry out a statement once for each set of parameters."""
        if not parameters:
            return
        with self.spent.counting():
            self.connection.execute(_statement(query, self.dialect), list(parameters))

    @contextlib.contextmanager
    def copying(self, statement: str) -> Iterator[Callable[[bytes], None]]:
        """PostgreSQL's COPY from here: what takes the bytes."""
        counting, translated = self.spent.counting(), _as_sqlalchemy(statement)
        with counting, self._driver().cursor() as cursor, translated, cursor.copy(statement) as copy:
            yield copy.write

    def binary_rows(self, statement: str, parameters: Row, *, block: int) -> Iterator[list[list[bytes | None]]]:
        """A PostgreSQL query's result in blocks of rows, a list of undecoded fields for each column."""
        with self._driver().cursor(binary=True) as cursor, _as_sqlalchemy(statement):
            with self.spent.counting():
                cursor.execute(f"declare wanted no scroll cursor for {statement}", parameters)
            while True:
                with self.spent.counting():
                    found = cursor.execute(f"fetch forward {block} from wanted").pgresult
                    told = [[found.get_value(row, n) for row in range(found.ntuples)] for n in range(found.nfields)]
                if found.ntuples == 0:
                    break
                yield told
            cursor.execute("close wanted")

    def insert_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """SQLite's insert of many rows, without a detour."""
        with self.spent.counting(), _as_sqlalchemy(statement[:_SHOWN]):
            self._driver().executemany(statement, rows)

    def blocks(self, statement: str, parameters: Row, *, block: int) -> Iterator[list[tuple[Any, ...]]]:
        """An SQLite query's result in blocks of rows."""
        with _as_sqlalchemy(statement), contextlib.closing(self._driver().execute(statement, parameters)) as cursor:
            while True:
                with self.spent.counting():
                    found = cursor.fetchmany(block)
                if not found:
                    break
                yield found

    def _driver(self) -> Any:
        self.connection.exec_driver_sql("select 1")  # begins the transaction, if nothing has yet
        return self.connection.connection.driver_connection

    def _carry_out(self, query: str, parameters: Mapping[str, Any]) -> sa.CursorResult[Any]:
        return self.connection.execute(_statement(query, self.dialect), parameters)


@contextlib.contextmanager
def _as_sqlalchemy(statement: str) -> Iterator[None]:
    """Errors of the driver as they come from everything else."""
    try:
        yield
    except Exception as error:
        known = [kind for kind in type(error).__mro__ if kind.__name__ in _DBAPI_ERRORS]
        if not known or isinstance(error, sa.exc.SQLAlchemyError):
            raise
        raise getattr(sa.exc, known[0].__name__)(statement, None, error) from error


def period_text(period: np.datetime64) -> str:
    """A period as SQLite holds it: a midnight is its day alone."""
    text: str = period.astype("datetime64[us]").item().isoformat(" ")
    return text.removesuffix(" 00:00:00")


@lru_cache(maxsize=1)
def query_files() -> dict[str, Traversable]:
    """All files of queries by their names without `.sql`: `run`, or `clock.sqlite` of one dialect alone."""
    folders = (folder for folder in (files("sql") / "queries").iterdir() if folder.is_dir())
    every = (file for folder in folders if folder.name != "examples" for file in folder.iterdir())
    return {file.name.removesuffix(".sql"): file for file in every if file.name.endswith(".sql")}


@lru_cache(maxsize=256)
def query_text(name: str, dialect: str) -> str:
    """The text of a query: the dialect's own, where there is one."""
    every = query_files()
    return (every.get(f"{name}.{dialect}") or every[name]).read_text("utf-8")


@lru_cache(maxsize=256)
def _statement(name: str, dialect: str) -> sa.TextClause | sa.TextualSelect:
    text = query_text(name, dialect)
    parameters, columns = (_declared_types(text, what) for what in ("parameters", "columns"))
    clause = sa.text(text).bindparams(*(sa.bindparam(key, type_=kind) for key, kind in parameters.items()))
    return clause.columns(**columns) if columns else clause


def _declared_types(text: str, what: str) -> dict[str, Instant | Period]:
    """The types in a query's line `-- parameters: …` or `-- columns: …`, by name."""
    line = re.search(rf"^-- {what}: (.+)$", text, re.MULTILINE)
    pairs = (pair.split() for pair in line[1].split(", ")) if line else ()
    return {name: _TYPES[kind]() for name, kind in pairs}
