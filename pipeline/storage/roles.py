"""The PostgreSQL roles of a store: who owns it, who changes its schema, who writes and who reads."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import InvalidArgument
from pipeline.storage.engine import Database
from pipeline.storage.schema import require_schema, run_script, script


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """One role, and what it is for."""

    role: str
    login: bool
    may: str


ROLES = (
    Role(role="nextperiod_owner", login=False, may="own tables, views, functions and sequences"),
    Role(role="nextperiod_migrator", login=True, may="nextperiod db upgrade, as the owner"),
    Role(role="nextperiod_writer", login=True, may="every other command: add rows, change no schema, empty no table"),
    Role(role="nextperiod_consumer", login=True, may="select from the views"),
)


def make_roles(database: Database) -> None:
    """Make the roles and hand the store over to its owner; a second time changes nothing.

    Raises:
        InvalidArgument: the database is SQLite.
        NotAllowed: it needs createrole, and to own the database.
    """
    if database.url.get_backend_name() == "sqlite":
        raise InvalidArgument(
            f"SQLite has no roles: who may open {database.shown} may do everything; the roles are PostgreSQL's"
        )
    require_schema(database)
    with database.write() as transaction:
        for name in ("roles", "grants"):
            run_script(transaction.connection, script(name))


def passwords() -> list[str]:
    """What is left to do for the roles that log in; nextperiod sets no password."""
    return [f"alter role {role.role} password '…'" for role in ROLES if role.login]
