"""What a cycle costs beyond what it must compute: `python -m tests.benchmarks.cycle`.

Processes of the command line from start to exit, in a database where everything was trained; and in one process over many
recipes. Beside them a cycle through Prefect's server in the process, which is what a flow needs where no server runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

NEXTPERIOD = [sys.executable, "-W", "ignore", "-m", "flows.cli.app"]
RECIPES = 10
RECIPE = """
name = "shop{n}"
frequency = "MS"
horizon = 12
[source]
kind = "csv"
path = "shop{n}.csv"
period = "month"
value = "sold"
[model]
architecture = "vanilla"
units = 8
[training]
epochs = 2
policy = "keep"
"""
#: steps of a cycle whose time is told
STEPS = ("imports", "opening", "ingest", "train", "forecast", "score", "mlflow", "sql")


class Shops:
    """A folder with recipes, whose files grow by a month when they are told to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.months = folder, 120
        self.environment = {
            **os.environ,
            "NEXTPERIOD_DATABASE_URL": f"sqlite:///{folder}/bench.db",
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "NEXTPERIOD_RECIPES": str(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": "",
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd())),
        }
        for n in range(RECIPES):
            (folder / f"shop{n}.toml").write_text(RECIPE.format(n=n), "utf-8")
        self.write()

    def write(self) -> None:
        """The file of each shop, up to the month that has come."""
        for n in range(RECIPES):
            rows = [f"{2000 + m // 12}-{1 + m % 12:02d}-01,{100 + 10 * ((m + n) % 12)}.5" for m in range(self.months)]
            (self.folder / f"shop{n}.csv").write_text("\n".join(["month,sold", *rows, ""]), "utf-8")

    def grow(self) -> None:
        """A month comes."""
        self.months += 1
        self.write()

    def run(self, command: Sequence[str]) -> tuple[float, str]:
        """Seconds of a process from start to exit, and what it said."""
        began = time.perf_counter()
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, check=True, capture_output=True, text=True
        )
        return time.perf_counter() - began, done.stdout


def one(shops: Shops) -> tuple[float, dict[str, float]]:
    """One recipe in a process."""
    seconds, said = shops.run([*NEXTPERIOD, "run", "shop0", "--json"])
    return seconds, json.loads(said)["seconds"]


def each_of_many(shops: Shops) -> tuple[float, dict[str, float]]:
    """What a recipe after the first takes in a process that runs all."""
    _, said = shops.run([*NEXTPERIOD, "run", *(f"shop{n}" for n in range(RECIPES)), "--json"])
    each = [fact["seconds"] for fact in json.loads(said)[1:]]
    steps = {name: statistics.median(one[name] for one in each) for name in each[0]}
    return statistics.median(sum(one.values()) for one in each), steps


def through_prefect(shops: Shops) -> tuple[float, dict[str, float]]:
    """The flow in a process without a server."""
    script = "from flows.cycle import cycle; cycle('shop0')"
    return shops.run([sys.executable, "-W", "ignore", "-c", script])[0], {}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    measures: dict[str, tuple[Callable[[Shops], tuple[float, dict[str, float]]], bool]] = {
        "nothing to do": (one, False),
        "a forecast alone, with its scores": (one, True),
        "nothing to do, each of many": (each_of_many, False),
        "a forecast alone, each of many": (each_of_many, True),
        "nothing to do, through Prefect's server in the process": (through_prefect, False),
    }
    print("| cycle | seconds | " + " | ".join(STEPS) + " |")
    print("|---|---|" + "---|" * len(STEPS))
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        shops = Shops(Path(name))
        shops.run([*NEXTPERIOD, "run", *(f"shop{n}" for n in range(RECIPES)), "--json"])
        for what, (measure, grows) in measures.items():
            rounds = []
            for _ in range(asked.rounds):
                if grows:
                    shops.grow()
                rounds.append(measure(shops))
            times = sorted(seconds for seconds, _ in rounds)
            steps = [statistics.median(told.get(step, 0.0) for _, told in rounds) for step in STEPS]
            cells = " | ".join(f"{seconds:.2f}" if any(steps) else "" for seconds in steps)
            print(
                f"| {what} | {statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f}) | {cells} |", flush=True
            )


if __name__ == "__main__":
    main()
