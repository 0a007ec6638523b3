"""The server that a store is on: its version, its clock, and whether it asked who connects."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from pipeline.storage.engine import Database

#: the first version of PostgreSQL that says how a user was authenticated
_SAYS_AUTHENTICATION = (16,)


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseServer:
    """What the server says of itself."""

    #: "sqlite" or "postgresql", with the version
    name: str
    #: reading of its clock
    now: datetime
    #: address of the connection; empty: a file, or a socket of this machine
    address: str
    #: whether it asked for a password or another proof; None: it does not say
    asks_who_connects: bool | None


def read_server(database: Database) -> DatabaseServer:
    """Return what the server of a store says of itself.

    Raises:
        DatabaseUnavailable: it cannot be reached.
    """
    with database.read() as transaction:
        now = transaction.one("clock")["now_at"]
        dialect, driver = transaction.connection.dialect, transaction.connection.connection.driver_connection
        if dialect.name == "sqlite" or driver is None:
            name = f"sqlite {sqlite3.sqlite_version}"
            return DatabaseServer(name=name, now=now, address="", asks_who_connects=None)
        version = dialect.server_version_info or ()
        asks = None
        if version >= _SAYS_AUTHENTICATION:
            asks = transaction.one("authentication")["method"] is not None
        return DatabaseServer(
            name=f"postgresql {'.'.join(map(str, version))}",
            now=now,
            address=driver.info.hostaddr,
            asks_who_connects=asks,
        )
