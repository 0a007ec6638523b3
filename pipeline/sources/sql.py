"""A table or a query of another database, in a transaction that can only read.

With `cursor`, only rows from the newest known value of that column on are read. That value is read
again: a row that was added to it since is not lost, and the others say what is known already. Rows
whose cursor is null are read the first time only, and rows that are committed late with a smaller
cursor are never seen: it must grow in the order in which rows become visible.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.recipe import Recipe
from pipeline.config.sources import SqlSource
from pipeline.errors import BatchRefused, NextperiodError, Rejection, SourceMissing, SourceUnavailable
from pipeline.sources.arrow_spool import ROWS, ArrowSpool, hash_rows
from pipeline.sources.columns import delivered, named_columns, named_twice
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.environment import filled, masked, refuse_literal_password
from pipeline.sources.file import hash_begun, hint, refuse
from pipeline.text import list_names

if TYPE_CHECKING:
    import sqlalchemy as sa

#: names that a message lists at most
_MOST_NAMES = 20
_CONNECT_SECONDS = 10
#: what a semicolon may hide in: comments, texts and names
_HIDDEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\1", re.DOTALL)
_AWAY = ("locked", "busy", "interrupted", "disk i/o", "unable to open")

#: the types that a cursor can have, and how each is read back
_CURSORS: dict[str, Any] = {
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "str": str,
}


@contextmanager
def fetch_sql(recipe: Recipe, context: FetchContext) -> Iterator[Delivery]:
    """The rows of the recipe's table or query; with a cursor, those from the newest known on.

    Raises:
        SourceMissing: there is no such table, query file or driver, or a variable is not set.
        SourceUnavailable: the database does not answer in time.
        BatchRefused: the query is not one that only reads, or lacks a column.
    """
    source = recipe.source
    assert isinstance(source, SqlSource)
    asked = _asked(recipe, source)
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        with _told(asked):
            spool, seen, state = _read(asked, recipe, source, context, Path(folder) / "rows")
        if spool.num_rows == 0 and seen is None and source.on_empty == "error":
            refuse(asked.shown, f"holds no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")
        leave_out = source.cursor if source.cursor not in named_columns(recipe) else None
        yield Delivery(
            source=asked.shown,
            content_hash=hash_rows(hash_begun(source), spool.batches()),
            chunks=partial(spool.chunks, leave_out),
            state=state,
            incremental=seen is not None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    url: sa.URL
    #: as messages show it: the table, or the file of the query
    shown: str
    #: the text of the query, where there is one
    query: str | None
    #: values that no message may show
    secrets: tuple[str, ...]
    #: of the database and of what is asked: a cursor of another one is of no use
    key: str
    hint: str


def _asked(recipe: Recipe, source: SqlSource) -> _Asked:
    import sqlalchemy as sa

    refuse_literal_password(source.url, recipe.name)
    text, secrets = filled(source.url, recipe=recipe.name)
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        url = None
    if url is None:
        raise SourceMissing(
            f"source.url of the recipe {recipe.name} is no SQLAlchemy URL: expected such as ${{WAREHOUSE_URL}}"
        )
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and not source.url.startswith("${"):
        url = url.set(database=str(recipe.folder / (url.database or "")))
    query = _query(recipe, source.query) if source.query else None
    key = f"{url.render_as_string()}\0{source.settings}\0{query}"
    return _Asked(
        url=url,
        shown=source.table or str(source.query),
        query=query,
        secrets=(*secrets, *([url.password] if url.password else [])),
        key=hashlib.sha256(key.encode()).hexdigest(),
        hint=hint(source),
    )


def _query(recipe: Recipe, name: str) -> str:
    """The one statement of a file.

    Raises:
        SourceMissing: there is no such file.
        BatchRefused: it holds more than one, or one that does not only read.
    """
    try:
        query = (recipe.folder / name).read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SourceMissing(f"the query {recipe.folder / name} cannot be read: {why}{hint(recipe.source)}") from None
    bare = _HIDDEN.sub(" ", query).strip().removesuffix(";").strip()
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE) or ";" in bare:
        refuse(name, f'begins with "{bare[:40]}": expected one select, or with … select', "not a query")
    return query.rstrip().removesuffix(";") + "\n" if _HIDDEN.sub("", query).rstrip().endswith(";") else query + "\n"


def _read(
    asked: _Asked, recipe: Recipe, source: SqlSource, context: FetchContext, path: Path
) -> tuple[ArrowSpool, Any, Mapping[str, str]]:
    """Write all rows to a file; the rows, the cursor that they begin at, and what is left for the next time."""
    seen = _seen(asked, source, context)
    with _reading(asked, source.timeout_seconds) as connection:
        table = _table(connection, asked, source)
        header = _header(connection, table, asked, recipe, source)
        names = [header[position] for position in delivered(header, recipe)]
        names += [source.cursor] if source.cursor and source.cursor not in names else []
        spool, newest = ArrowSpool(path, names), _Newest(names, source.cursor)
        streamed = {"stream_results": True, "max_row_buffer": ROWS}
        statement = _statement(table, names, recipe, seen)
        try:
            with connection.execute(statement, execution_options=streamed) as rows:
                spool.add(newest.watch(_in_time(rows.partitions(ROWS), source.timeout_seconds)))
        except TypeError:
            refuse(asked.shown, "holds bytes in a column that is asked for: expected text, numbers or dates", "columns")
    return spool, seen, newest.state(asked.key) or dict(context.state)


def _seen(asked: _Asked, source: SqlSource, context: FetchContext) -> Any:
    if source.cursor is None or context.state.get("key") != asked.key:
        return None
    return _CURSORS[context.state["type"]](context.state["cursor"])


class _Newest:
    """The last cursor of rows that come in its order."""

    def __init__(self, names: Sequence[str], cursor: str | None) -> None:
        self.position = names.index(cursor) if cursor else None
        self.value: Any = None

    def watch(self, parts: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        for rows in parts:
            if self.position is not None:
                values = (row[self.position] for row in reversed(rows))
                self.value = next((value for value in values if value is not None), self.value)
            yield rows

    def state(self, key: str) -> dict[str, str]:
        """What is left behind, nothing where there was no row."""
        if self.value is None:
            return {}
        kind = type(self.value).__name__
        text = self.value.isoformat() if isinstance(self.value, date) else str(self.value)
        return {"key": key, "cursor": text, "type": kind if kind in _CURSORS else "str"}


def _in_time(parts: Iterator[Sequence[Any]], seconds: float) -> Iterator[Sequence[Any]]:
    deadline = time.monotonic() + seconds
    for rows in parts:
        yield rows
        if time.monotonic() > deadline:
            raise TimeoutError


def _table(connection: sa.Connection, asked: _Asked, source: SqlSource) -> sa.FromClause:
    """The table, or the query as one; nothing of it is pasted together from names."""
    import sqlalchemy as sa

    if asked.query is not None:
        escaped = re.sub(r":(?=\w)", r"\:", asked.query.replace("\\", "\\\\"))
        return sa.text(escaped).columns().subquery("nextperiod")
    schema, _, name = str(source.table).rpartition(".")
    inspector = sa.inspect(connection)
    if not inspector.has_table(name, schema=schema or None):
        names = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
        shown = list_names(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
        raise SourceMissing(f"there is no table {source.table}: expected one of {shown}{asked.hint}")
    quoted = sa.quoted_name(name, quote=True)
    return sa.table(quoted, schema=sa.quoted_name(schema, quote=True) if schema else None)


def _header(
    connection: sa.Connection, table: sa.FromClause, asked: _Asked, recipe: Recipe, source: SqlSource
) -> list[str]:
    import sqlalchemy as sa

    header = list(connection.execute(sa.select(sa.text("*")).select_from(table).limit(0)).keys())
    twice = named_twice(header, recipe)
    if twice is not None:
        refuse(asked.shown, f'names the column "{twice[0]}" {twice[1]} times: expected it once', "column twice")
    expected = [*named_columns(recipe), *([source.cursor] if source.cursor else [])]
    missing = next((name for name in expected if name not in header), None)
    if missing is not None:
        refuse(
            asked.shown,
            f'has no column "{missing}": expected {", ".join(expected)}, found {", ".join(header)}',
            "missing column",
        )
    return header


def _statement(table: sa.FromClause, names: Sequence[str], recipe: Recipe, seen: Any) -> sa.Select[Any]:
    """In an order that is the same for the same rows, the cursor first."""
    import sqlalchemy as sa

    source = recipe.source
    assert isinstance(source, SqlSource)

    def column(name: str) -> sa.ColumnClause[Any]:
        return sa.column(sa.quoted_name(name, quote=True))

    order = dict.fromkeys(name for name in (source.cursor, source.series, source.period, source.value) if name)
    chosen = sa.select(*map(column, names)).select_from(table).order_by(*map(column, order))
    if source.cursor is None or seen is None:
        return chosen
    return chosen.where(column(source.cursor) >= sa.bindparam("seen", seen))


@contextmanager
def _reading(asked: _Asked, seconds: float) -> Iterator[sa.Connection]:
    """A connection that cannot write, and that gives up in time."""
    import sqlalchemy as sa

    engine = _engine(asked, seconds)
    try:
        with engine.connect() as connection:
            if engine.dialect.name in ("postgresql", "mysql", "mariadb", "oracle"):
                connection.execute(sa.text("set transaction read only"))
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text(f"set local statement_timeout = {int(1000 * seconds)}"))
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _engine(asked: _Asked, seconds: float) -> sa.Engine:
    import sqlalchemy as sa

    if asked.url.get_backend_name() == "sqlite":
        return sa.create_engine("sqlite://", creator=partial(_sqlite, asked, seconds), poolclass=sa.NullPool)
    options = {"connect_timeout": _CONNECT_SECONDS} if asked.url.get_backend_name() == "postgresql" else {}
    return sa.create_engine(asked.url, connect_args=options, poolclass=sa.NullPool)


def _sqlite(asked: _Asked, seconds: float) -> Any:
    """A file that is opened to be read, and a query that stops when its time is over."""
    import sqlite3

    path = Path(asked.url.database or "")
    if not path.is_file():
        raise SourceMissing(f"there is no file {path}: expected an SQLite database with {asked.shown}{asked.hint}")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=min(seconds, 30))
    connection.execute("pragma query_only = on")
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    return connection


@contextmanager
def _told(asked: _Asked) -> Iterator[None]:
    """Tell each fault of the database in our own words, without what is secret."""
    import sqlalchemy as sa

    try:
        yield
    except NextperiodError:
        raise
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        told: NextperiodError = SourceMissing(
            f"{asked.shown} needs a driver for {asked.url.drivername}, which is not installed: {masked(str(error), asked.secrets)}"
        )
    except TimeoutError:
        told = SourceUnavailable(_late(asked))
    except sa.exc.DBAPIError as error:
        told = _fault(asked, error)
    except sa.exc.SQLAlchemyError as error:
        told = _refusal(asked, str(error))
    else:
        return
    raise told from None


def _fault(asked: _Asked, error: sa.exc.DBAPIError) -> NextperiodError:
    import sqlalchemy as sa

    text = str(error.orig)
    is_sqlite = asked.url.get_backend_name() == "sqlite"
    if "interrupted" in text or "statement timeout" in text:
        return SourceUnavailable(_late(asked))
    away = any(word in text.lower() for word in _AWAY) if is_sqlite else isinstance(error, sa.exc.OperationalError)
    if away or error.connection_invalidated:
        return SourceUnavailable(f"the database of {asked.shown} cannot be reached: {_first_line(text, asked)}")
    return _refusal(asked, text)


def _refusal(asked: _Asked, text: str) -> BatchRefused:
    message = f"{asked.shown} cannot be queried: {_first_line(text, asked)}"
    return BatchRefused(message, [Rejection(rule="query")], source=asked.shown)


def _late(asked: _Asked) -> str:
    return f"{asked.shown} takes too long: try again later, or raise source.timeout_seconds"


def _first_line(text: str, asked: _Asked) -> str:
    return masked(text, asked.secrets).splitlines()[0] if text else "it gives no reason"
