"""`nextperiod` as somebody types it, command after command, in one process of its own: Prefect starts only once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_READ_AND_CARRY_OUT = """
import contextlib, io, json, sys
from flows.cli.app import main
for line in iter(sys.stdin.readline, ""):
    sys.argv, out, err, status = ["nextperiod", *json.loads(line)], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    print("said " + json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


#: from what is typed to what a command ended with and wrote
Typed = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Said:
    """What a command ended with and wrote."""

    status: int
    out: str
    err: str

    @property
    def facts(self) -> Any:
        """What `--json` printed."""
        assert self.status == 0, self.err
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Where commands are typed."""

    process: subprocess.Popen[str]

    def types(self, *arguments: str) -> Said:
        """Carry out one command."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        for line in iter(self.process.stdout.readline, ""):
            if line.startswith("said "):
                return Said(*json.loads(line.removeprefix("said ")))
        raise AssertionError(f"the process ended with {self.process.wait()} during nextperiod {' '.join(arguments)}")


@contextmanager
def shell_in(folder: Path) -> Iterator[Shell]:
    """A process in a person's folder, with nothing set but where the recipes are: there."""
    (folder / "home").mkdir()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    own = {"HOME": str(folder / "home"), "NEXTPERIOD_RECIPES": str(folder)}
    with subprocess.Popen(
        [sys.executable, "-c", _READ_AND_CARRY_OUT],
        cwd=folder,
        env=kept | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Shell(process)
        finally:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    """Let it end by itself, and what it started with it: Prefect's server is a process of its own."""
    started = psutil.Process(process.pid).children(recursive=True)
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
    for child in started:
        with suppress(psutil.NoSuchProcess):
            child.kill()
