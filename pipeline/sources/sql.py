"""A table or a query of another database as a source, read in a transaction that cannot write.

With `cursor`, only rows from the newest known value of that column on are read. Rows with that very value are read
again: one that was added to it since is not lost, and the others are recognised as known. Rows whose cursor is null
are read the first time only. Rows that are committed late with a smaller cursor are never read: the cursor must grow
in the order in which rows become visible.
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
from pipeline.sources.arrow_spool import ROWS, ArrowSpool, hash_batches
from pipeline.sources.columns import find_repeated_column, named_columns, select_columns
from pipeline.sources.delivery import Delivery, FetchContext
from pipeline.sources.environment import fill_variables, mask_secrets, refuse_literal_password
from pipeline.sources.file import hint_suffix, refuse, start_hash
from pipeline.text import list_names

if TYPE_CHECKING:
    import sqlalchemy as sa

#: tables that a message lists at most
_MAX_NAMES_SHOWN = 20
_CONNECT_SECONDS = 10
#: what may hold a semicolon that ends no statement: comments, literals and quoted names
_COMMENT_OR_LITERAL = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|(\$\w*\$).*?\1",
    re.DOTALL,
)
#: messages of SQLite that pass with time
_SQLITE_TEMPORARY = ("locked", "busy", "interrupted", "disk i/o", "unable to open")

#: how dates, intervals and numbers are returned; the order in which a query writes dates stays that of the role
_POSTGRESQL_OUTPUT = """select set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true),
set_config('extra_float_digits', '1', true)"""
#: the types that a cursor can have, and how each is read back from the state
_PARSE_CURSOR: dict[str, Any] = {
    "int": int,
    "float": float,
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "str": str,
}


@contextmanager
def fetch_sql(recipe: Recipe, source: SqlSource, context: FetchContext) -> Iterator[Delivery]:
    """Deliver the rows of the recipe's table or query; with a cursor, those from its newest known value on.

    Raises:
        SourceMissing: there is no such table, query file or driver, or a variable is not set.
        SourceUnavailable: the database does not answer in time.
        BatchRefused: the query may write, or a column is missing.
    """
    request = _build_request(recipe, source)
    start = _known_cursor(request, source, context)
    with tempfile.TemporaryDirectory(prefix="nextperiod-") as folder:
        with _translated_errors(request):
            spool, state = _read_rows(request, recipe, source, start, Path(folder) / "rows")
        if spool.num_rows == 0 and start is None and source.on_empty == "error":
            refuse(request.shown, f"holds no rows: expected rows with {', '.join(named_columns(recipe))}", "no rows")
        leave_out = source.cursor if source.cursor not in named_columns(recipe) else None
        yield Delivery(
            source=request.shown,
            content_hash=hash_batches(start_hash(source), spool.batches()),
            chunks=partial(spool.chunks, leave_out),
            state=state or dict(context.state),
            incremental=start is not None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    url: sa.URL
    #: name in messages: the table, or the file of the query
    shown: str
    #: text of the query; None for a table
    query: str | None
    #: values that no message may show
    secrets: tuple[str, ...]
    #: hash of the database, the query and the settings: the cursor of another request is not used
    key: str
    hint: str


def _build_request(recipe: Recipe, source: SqlSource) -> _Request:
    refuse_literal_password(source.url, recipe.name)
    url, secrets = _parse_url(recipe, source)
    query = _read_query(recipe, source.query) if source.query else None
    key = f"{url.render_as_string()}\0{source.settings}\0{query}"
    return _Request(
        url=url,
        shown=source.table or str(source.query),
        query=query,
        secrets=(*secrets, *([url.password] if url.password else [])),
        key=hashlib.sha256(key.encode()).hexdigest(),
        hint=hint_suffix(source),
    )


def _parse_url(recipe: Recipe, source: SqlSource) -> tuple[sa.URL, tuple[str, ...]]:
    """Return the address of the database, and the values of its variables.

    A relative SQLite file that is written in the recipe lies beside it.
    """
    import sqlalchemy as sa

    text, secrets = fill_variables(source.url, recipe=recipe.name)
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise SourceMissing(
            f"source.url of the recipe {recipe.name} is no SQLAlchemy URL: expected such as ${{WAREHOUSE_URL}}"
        ) from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and not source.url.startswith("${"):
        url = url.set(database=str(recipe.folder / (url.database or "")))
    return url, secrets


def _read_query(recipe: Recipe, name: str) -> str:
    """Return the one statement of a file, without its final semicolon.

    Raises:
        SourceMissing: there is no such file.
        BatchRefused: it holds more than one statement, or one that is not a select.
    """
    path = recipe.folder / name
    try:
        query = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SourceMissing(f"the query {path} cannot be read: {why}{hint_suffix(recipe.source)}") from None
    bare = _COMMENT_OR_LITERAL.sub(" ", query).strip().removesuffix(";").strip()
    if not re.match(r"(select|with)\b", bare, re.IGNORECASE) or ";" in bare:
        refuse(name, f'begins with "{bare[:40]}": expected one select, or with … select', "not a query")
    ends_with_semicolon = _COMMENT_OR_LITERAL.sub("", query).rstrip().endswith(";")
    return (query.rstrip().removesuffix(";") if ends_with_semicolon else query) + "\n"


def _known_cursor(request: _Request, source: SqlSource, context: FetchContext) -> Any:
    """Return the newest cursor of the last delivery; None if there is none, or if it belongs to another request."""
    if source.cursor is None or context.state.get("key") != request.key:
        return None
    return _PARSE_CURSOR[context.state["type"]](context.state["cursor"])


def _read_rows(
    request: _Request, recipe: Recipe, source: SqlSource, start: Any, path: Path
) -> tuple[ArrowSpool, Mapping[str, str]]:
    """Write the rows from the cursor `start` on to a file; return it and the next state, empty without a row."""
    with _read_only_connection(request, source.timeout_seconds) as connection:
        table = _find_table(connection, request, source)
        header = _read_header(connection, table, request, recipe, source)
        names = [header[position] for position in select_columns(header, recipe)]
        names += [source.cursor] if source.cursor and source.cursor not in names else []
        spool, tracker = ArrowSpool(path, names), _CursorTracker(names, source.cursor)
        statement = _select_statement(table, names, source, start)
        options = {"stream_results": True, "max_row_buffer": ROWS}
        try:
            with connection.execute(statement, execution_options=options) as rows:
                spool.write(tracker.watch(_limit_time(rows.partitions(ROWS), source.timeout_seconds)))
        except TypeError:
            refuse(
                request.shown,
                "holds bytes in a column that the recipe names: expected text, numbers or dates",
                "columns",
            )
    return spool, tracker.state(request.key)


class _CursorTracker:
    """Remembers the last cursor of rows that come in the order of the cursor."""

    def __init__(self, names: Sequence[str], cursor: str | None) -> None:
        self.position = names.index(cursor) if cursor else None
        self.value: Any = None

    def watch(self, parts: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
        """Yield the parts unchanged."""
        for rows in parts:
            if self.position is not None:
                values = (row[self.position] for row in reversed(rows))
                self.value = next((value for value in values if value is not None), self.value)
            yield rows

    def state(self, key: str) -> dict[str, str]:
        """Return the state for the next fetch; empty if there was no row."""
        if self.value is None:
            return {}
        kind = type(self.value).__name__
        text = self.value.isoformat() if isinstance(self.value, date) else str(self.value)
        return {"key": key, "cursor": text, "type": kind if kind in _PARSE_CURSOR else "str"}


def _limit_time(parts: Iterator[Sequence[Any]], seconds: float) -> Iterator[Sequence[Any]]:
    deadline = time.monotonic() + seconds
    for rows in parts:
        yield rows
        if time.monotonic() > deadline:
            raise TimeoutError


def _find_table(connection: sa.Connection, request: _Request, source: SqlSource) -> sa.FromClause:
    """Return the table, or the query as a subquery; names are quoted, never pasted into SQL."""
    import sqlalchemy as sa

    if request.query is not None:
        escaped = re.sub(r":(?=\w)", r"\:", request.query.replace("\\", "\\\\"))
        return sa.text(escaped).columns().subquery("nextperiod")
    schema, _, name = str(source.table).rpartition(".")
    inspector = sa.inspect(connection)
    if not inspector.has_table(name, schema=schema or None):
        names = [*inspector.get_table_names(schema or None), *inspector.get_view_names(schema or None)]
        shown = list_names(names[:_MAX_NAMES_SHOWN]) + (", …" if len(names) > _MAX_NAMES_SHOWN else "")
        raise SourceMissing(f"there is no table {source.table}: expected one of {shown}{request.hint}")
    quoted = sa.quoted_name(name, quote=True)
    return sa.table(quoted, schema=sa.quoted_name(schema, quote=True) if schema else None)


def _read_header(
    connection: sa.Connection, table: sa.FromClause, request: _Request, recipe: Recipe, source: SqlSource
) -> list[str]:
    import sqlalchemy as sa

    header = list(connection.execute(sa.select(sa.text("*")).select_from(table).limit(0)).keys())
    repeated = find_repeated_column(header, recipe)
    if repeated is not None:
        name, count = repeated
        refuse(request.shown, f'names the column "{name}" {count} times: expected it once', "column twice")
    expected = [*named_columns(recipe), *([source.cursor] if source.cursor else [])]
    missing = next((name for name in expected if name not in header), None)
    if missing is not None:
        refuse(
            request.shown,
            f'has no column "{missing}": expected {", ".join(expected)}, found {", ".join(header)}',
            "missing column",
        )
    return header


def _select_statement(table: sa.FromClause, names: Sequence[str], source: SqlSource, start: Any) -> sa.Select[Any]:
    """Select columns in an order that depends on the rows alone, by the cursor first; from `start` on if there is one."""
    import sqlalchemy as sa

    def column(name: str) -> sa.ColumnClause[Any]:
        return sa.column(sa.quoted_name(name, quote=True))

    order = dict.fromkeys(name for name in (source.cursor, source.series, source.period, source.value) if name)
    statement = sa.select(*map(column, names)).select_from(table).order_by(*map(column, order))
    if source.cursor is None or start is None:
        return statement
    return statement.where(column(source.cursor) >= sa.bindparam("start", start))


@contextmanager
def _read_only_connection(request: _Request, seconds: float) -> Iterator[sa.Connection]:
    """Connect in a transaction that cannot write, and whose statements end after `seconds`."""
    import sqlalchemy as sa

    engine = _create_engine(request, seconds)
    try:
        with engine.connect() as connection:
            if engine.dialect.name in ("postgresql", "mysql", "mariadb", "oracle"):
                connection.execute(sa.text("set transaction read only"))
            if engine.dialect.name == "postgresql":
                connection.execute(sa.text(f"set local statement_timeout = {int(1000 * seconds)}"))
                connection.execute(sa.text(_POSTGRESQL_OUTPUT))
            yield connection
            connection.rollback()
    finally:
        engine.dispose()


def _create_engine(request: _Request, seconds: float) -> sa.Engine:
    import sqlalchemy as sa

    backend = request.url.get_backend_name()
    if backend == "sqlite":
        return sa.create_engine("sqlite://", creator=partial(_open_sqlite, request, seconds), poolclass=sa.NullPool)
    options: dict[str, Any] = {}
    if backend == "postgresql":
        options = {"connect_timeout": _CONNECT_SECONDS}
        if request.url.get_driver_name() == "psycopg":  # behind a pooler prepared statements are somebody else's
            options |= {"prepare_threshold": None, "client_encoding": "UTF8"}
    return sa.create_engine(request.url, connect_args=options, poolclass=sa.NullPool)


def _open_sqlite(request: _Request, seconds: float) -> Any:
    """Open a file read only; its queries are interrupted after `seconds`."""
    import sqlite3

    path = Path(request.url.database or "")
    if not path.is_file():
        raise SourceMissing(f"there is no file {path}: expected an SQLite database with {request.shown}{request.hint}")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=min(seconds, 30))
    connection.execute("pragma query_only = on")
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)
    return connection


@contextmanager
def _translated_errors(request: _Request) -> Iterator[None]:
    """Replace the errors of the database and its driver by ours, without secrets."""
    import sqlalchemy as sa

    try:
        yield
    except NextperiodError:
        raise
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        why = mask_secrets(str(error), request.secrets)
        raise SourceMissing(
            f"{request.shown} needs a driver for {request.url.drivername}, which is not installed: {why}"
        ) from None
    except TimeoutError:
        raise _timeout_error(request) from None
    except sa.exc.DBAPIError as error:
        raise _translate_driver_error(request, error) from None
    except sa.exc.SQLAlchemyError as error:
        raise _query_error(request, str(error)) from None


def _translate_driver_error(request: _Request, error: sa.exc.DBAPIError) -> NextperiodError:
    import sqlalchemy as sa

    text = str(error.orig)
    if "interrupted" in text or "statement timeout" in text:
        return _timeout_error(request)
    if request.url.get_backend_name() == "sqlite":
        is_temporary = any(word in text.lower() for word in _SQLITE_TEMPORARY)
    else:
        is_temporary = isinstance(error, sa.exc.OperationalError)
    if is_temporary or error.connection_invalidated:
        return SourceUnavailable(f"the database of {request.shown} cannot be reached: {_first_line(text, request)}")
    return _query_error(request, text)


def _timeout_error(request: _Request) -> SourceUnavailable:
    return SourceUnavailable(f"{request.shown} takes too long: try again later, or raise source.timeout_seconds")


def _query_error(request: _Request, text: str) -> BatchRefused:
    message = f"{request.shown} cannot be queried: {_first_line(text, request)}"
    return BatchRefused(message, [Rejection(rule="query")], source=request.shown)


def _first_line(text: str, request: _Request) -> str:
    return mask_secrets(text, request.secrets).splitlines()[0] if text else "it gives no reason"
