"""A database in which everything that is written is undone in the end."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from pipeline.storage.engine import Database, open_database
from pipeline.storage.recipes import RecipeRepository
from pipeline.storage.schema import require_schema, revision_of
from pipeline.storage.statements import Transaction


@dataclass(frozen=True)
class Rehearsal(Database):
    """One transaction from the first write on, in which all later reads take place, and which is never committed.

    Other connections see nothing of it. From its first write on it holds the locks that a writer holds.
    """

    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, compare=False)
    _connections: list[sa.Connection] = field(default_factory=list, compare=False)

    @contextlib.contextmanager
    def write(self) -> Iterator[Transaction]:
        """Write in a savepoint of the transaction; an error undoes the savepoint."""
        with self.reachable():
            if not self._connections:
                connection = self._stack.enter_context(self.engine.connect())
                connection.begin()
                self._connections.append(connection)
            (connection,) = self._connections
            with connection.begin_nested():
                yield Transaction(connection, self.timer)

    @contextlib.contextmanager
    def read(self) -> Iterator[Transaction]:
        """Read what the database holds, with what was written so far."""
        if not self._connections:
            with super().read() as transaction:
                yield transaction
            return
        with self.reachable():
            yield Transaction(self._connections[0], self.timer)

    def close(self) -> None:
        """Undo everything, and close all connections."""
        for connection in self._connections:
            connection.rollback()
        self._connections.clear()
        self._stack.close()
        super().close()


@contextlib.contextmanager
def rehearse(url: str, recipe: str) -> Iterator[Database]:
    """Open a database of which nothing is changed; an empty temporary one where there is none with the recipe yet.

    So a recipe that never ran takes no lock in a database that others use.

    Args:
        url: of the database.
        recipe: name of the recipe.

    Raises:
        SchemaOutOfDate: its schema is older than the code's.
        SchemaTooNew: it is newer.
        DatabaseUnavailable: it cannot be reached.
    """
    parsed = open_database(url)
    with contextlib.ExitStack() as stack:
        database: Database = Rehearsal(parsed.url)
        stack.callback(lambda: database.close())
        if not _has_file(parsed) or not _has_recipe(database, recipe):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nextperiod-"))
            database.close()
            database = open_database(f"sqlite:///{folder}/rehearsal.db")
        require_schema(database)
        yield database


def _has_recipe(database: Database, recipe: str) -> bool:
    """Whether a database has a schema, and a recipe of that name ran with it."""
    if revision_of(database) is None:
        return False
    require_schema(database)
    return RecipeRepository(database).current_definition(recipe) is not None


def _has_file(database: Database) -> bool:
    """Whether a SQLite database exists; opening one that does not would create it."""
    if database.url.get_backend_name() != "sqlite":
        return True
    return database.url.database is not None and Path(database.url.database).is_file()
