"""Somebody is told what is the matter: once when it comes up, once when it is gone, and also when the cycle never runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.sources.server import Request, Server, response, serve

RECIPE = """
name = "sales"
frequency = "MS"
horizon = 3
[source]
kind = "csv"
path = "sales.csv"
period = "month"
value = "sold"
"""
SECRET = "/services/T0/B0/SECRET"

Command = Callable[..., subprocess.CompletedProcess[str]]


def months_until(last: datetime) -> str:
    months = pd.date_range(end=last, periods=4, freq="MS")
    return "".join(["month,sold\n", *(f"{month:%Y-%m},{n + 1}\n" for n, month in enumerate(months))])


@pytest.fixture
def webhook() -> Iterator[Server]:
    with serve(lambda _: response("ok")) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales.toml").write_text(RECIPE)
    (tmp_path / "sales.csv").write_text(months_until(datetime.now(UTC)))
    return tmp_path


def command(folder: Path, alerts: str) -> Command:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    environment = kept | {"HOME": str(folder), "NEXTPERIOD_RECIPES": str(folder), "NEXTPERIOD_ALERTS": alerts}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        nextperiod = Path(sys.executable).parent / "nextperiod"
        return subprocess.run(
            [nextperiod, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )

    return run


def sent(server: Server) -> list[list[tuple[str, str]]]:
    """State and kind of the alerts in each request."""
    bodies: list[dict[str, Any]] = [json.loads(request.body) for request in server.requests]
    return [[(alert["state"], alert["kind"]) for alert in body["alerts"]] for body in bodies]


def test_a_failure_is_told_once_and_so_is_the_recovery(folder: Path, webhook: Server) -> None:
    nextperiod = command(folder, f"{webhook.url}{SECRET}")

    assert nextperiod("run", "sales").returncode == 0
    assert sent(webhook) == []

    (folder / "sales.csv").rename(folder / "away.csv")
    failed = nextperiod("run", "sales")
    nextperiod("run", "sales")
    assert failed.returncode == 1
    assert sent(webhook) == [[("raised", "failed")]]
    text = json.loads(webhook.requests[0].body)["text"]
    assert text.startswith("sales: failed: at ")
    assert "there is no file" in text

    (folder / "away.csv").rename(folder / "sales.csv")
    nextperiod("run", "sales")
    nextperiod("run", "sales")
    assert sent(webhook) == [[("raised", "failed")], [("recovered", "failed")]]


def test_when_data_stop_a_check_of_its_own_tells_it(folder: Path, webhook: Server) -> None:
    (folder / "sales.csv").write_text(months_until(datetime(2024, 6, 1)))
    command(folder, "")("run", "sales")
    nextperiod = command(folder, f"{webhook.url}{SECRET}")

    first, second = nextperiod("status", "--check", "--notify"), nextperiod("status", "--check", "--notify")

    assert [first.returncode, second.returncode] == [1, 1]
    assert first.stdout.startswith("sales: stale: a newer forecast than that of ")
    assert [first.stderr, second.stderr] == ["1 alert sent\n", "0 alerts sent\n"]
    assert sent(webhook) == [[("raised", "stale")]]


def test_a_webhook_that_hangs_is_given_up_and_the_cycle_is_as_it_was(folder: Path) -> None:
    (folder / "sales.csv").write_text(months_until(datetime(2024, 6, 1)))

    def hang(_request: Request) -> Iterator[bytes]:
        server.stopped.wait(60)
        yield b""

    with serve(hang) as server:
        ran = command(folder, f"{server.url}{SECRET}")("run", "sales")

    assert ran.returncode == 0, ran.stderr
    assert f"alerts cannot be sent to {server.url}: ReadTimeout" in ran.stderr
    assert "SECRET" not in ran.stderr + ran.stdout


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "--notify: NEXTPERIOD_ALERTS is not set"),
        ("slack", "NEXTPERIOD_ALERTS is no address: expected https://"),
        (f"http://127.0.0.1:9{SECRET}", "alerts cannot be sent to http://127.0.0.1:9: ConnectError"),
    ],
)
def test_an_address_that_is_none_is_told_in_one_line(folder: Path, address: str, message: str) -> None:
    (folder / "sales.csv").write_text(months_until(datetime(2024, 6, 1)))
    command(folder, "")("run", "sales")

    said = command(folder, address)("status", "--check", "--notify")

    assert said.returncode == 1
    assert said.stderr.startswith(f"nextperiod: {message}")
    assert said.stderr.count("\n") == 1
    assert "SECRET" not in said.stderr


def test_what_could_not_be_sent_is_sent_next_time(folder: Path, webhook: Server) -> None:
    (folder / "sales.csv").write_text(months_until(datetime(2024, 6, 1)))
    with serve(lambda _: response("no", status=500)) as broken:
        command(folder, broken.url)("run", "sales")

    command(folder, webhook.url)("run", "sales")

    assert sent(broken) == [[("raised", "stale")]]
    assert sent(webhook) == [[("raised", "stale")]]
