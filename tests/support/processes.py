"""Servers and workers as processes of their own, which end with the test."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

#: seconds
BETWEEN_LOOKS = 0.25


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def until(what: str, limit_seconds: float, look: Callable[[], T], *, every_seconds: float = BETWEEN_LOOKS) -> T:
    """Look until there is something."""
    end = time.monotonic() + limit_seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(every_seconds)
    raise AssertionError(f"after {limit_seconds} s still not so: {what}")


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a folder; a failure shows the end of its log."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    except BaseException as error:
        error.add_note(f"--- {log.stem} said:\n" + "\n".join(log.read_text("utf-8", "replace").splitlines()[-60:]))
        raise
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; a worker ends at the second signal."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    for patience_seconds in (3, 10):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_seconds)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    for one in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
