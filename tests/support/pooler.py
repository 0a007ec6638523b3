"""A pgbouncer of the tests' own, which gives each transaction another session of the server."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

_CONFIGURATION = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
"""


def is_installed() -> bool:
    """Whether there is a pgbouncer to start; CI has one."""
    return shutil.which("pgbouncer", path=_path()) is not None


@contextlib.contextmanager
def running_pgbouncer(url: sa.URL) -> Iterator[sa.URL]:
    """The same database behind a pgbouncer in transaction mode, which stops at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen_port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    configuration = folder / "pgbouncer.ini"
    host = url.query.get("host", url.host)
    configuration.write_text(
        _CONFIGURATION.format(host=host, port=url.port or 5432, user=url.username, listen_port=listen_port)
    )
    as_user = []
    if os.geteuid() == 0:  # pgbouncer refuses root, and only the owner of a server's socket may use it
        owner = Path(str(host)).owner() if str(host).startswith("/") else "postgres"
        shutil.chown(folder, owner)
        as_user = [f"--user={owner}"]
    program = shutil.which("pgbouncer", path=_path())
    process = subprocess.Popen([str(program), "--quiet", *as_user, str(configuration)], cwd=folder)
    try:
        _wait_until_listening(listen_port)
        yield sa.URL.create(url.drivername, url.username, host="127.0.0.1", port=listen_port, database=url.database)
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin"


def _wait_until_listening(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"pgbouncer does not listen on port {port}")
