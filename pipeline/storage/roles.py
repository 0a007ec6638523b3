"""PostgreSQL roles: the owner of the store, and who may change its schema, write to it and read it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import InvalidArgument
from pipeline.storage.engine import Database
from pipeline.storage.schema import require_schema, run_script, script


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role, whether it logs in, and what it may do."""

    role: str
    login: bool
    may: str


ROLES = (
    Role(role="nextperiod_owner", login=False, may="own tables, views, functions and sequences"),
    Role(role="nextperiod_migrator", login=True, may="nextperiod db upgrade, as the owner"),
    Role(role="nextperiod_writer", login=True, may="every other command: add rows, change no schema, empty no table"),
    Role(role="nextperiod_consumer", login=True, may="select from the views"),
)


def create_roles(database: Database) -> None:
    """Create the roles and give the store to its owner; a second call changes nothing.

    Raises:
        InvalidArgument: the database is SQLite.
        NotAllowed: this user has no createrole right, or does not own the database.
    """
    if database.url.get_backend_name() == "sqlite":
        raise InvalidArgument(
            f"SQLite has no roles: everybody who can open {database.shown} may do everything; roles need PostgreSQL"
        )
    require_schema(database)
    with database.write() as transaction:
        for name in ("roles", "grants"):
            run_script(transaction.connection, script(name))


def password_statements() -> list[str]:
    """The statements that an administrator still has to execute; nextperiod sets no passwords."""
    return [f"alter role {role.role} password '…'" for role in ROLES if role.login]
