"""How long a stranger waits for a first forecast: `python -m tests.benchmarks.first_forecast`.

Each round is a process of the command line in a folder of its own, with a new SQLite store and a new MLflow store. Told
are the seconds from its start until its rows can be selected by somebody else, and until it has ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "deployments/recipes/milk.toml"
#: how the command is called, by row
OPTIONS = {"fitted further on the series": (), "the network as it ships": ("--keep",)}
#: seconds between two looks at the store
_PAUSE = 0.05


def measure(options: tuple[str, ...]) -> tuple[float, float]:
    """Seconds until the rows are there, and until the process has ended."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environment = {
            **os.environ,
            "HOME": name,
            "NEXTPERIOD_DATABASE_URL": f"sqlite:///{folder}/store.db",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd())),
        }
        command = [sys.executable, "-W", "ignore", "-m", "flows.cli.app", "run", str(RECIPE), *options]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        published = None
        while process.poll() is None:
            if published is None and _has_forecast(folder / "store.db"):
                published = time.perf_counter() - began
            time.sleep(_PAUSE)
        ended = time.perf_counter() - began
        if process.returncode != 0 or not _has_forecast(folder / "store.db"):
            raise SystemExit(f"{' '.join(command)} ended with status {process.returncode} and no forecast")
        return published if published is not None else ended, ended


def _has_forecast(store: Path) -> bool:
    with (
        contextlib.suppress(sqlite3.OperationalError),
        sqlite3.connect(f"file:{store}?mode=ro", uri=True) as connection,
    ):
        return connection.execute("select 1 from latest_forecasts limit 1").fetchone() is not None
    return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in OPTIONS}
    for _ in range(asked.rounds):
        for what, options in OPTIONS.items():
            times[what].append(measure(options))
    print(
        "| one series of 168 months | seconds until its forecast can be read | until the process has ended |\n|---|---|---|"
    )
    for what, measured in times.items():
        cells = (
            f"{statistics.median(one):.2f} ({min(one):.2f} to {max(one):.2f})" for one in zip(*measured, strict=True)
        )
        print(f"| {what} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
