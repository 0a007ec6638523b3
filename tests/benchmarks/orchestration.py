"""What Prefect adds to a cycle with a training: `python -m tests.benchmarks.orchestration`.

The same retraining by turns without a server, as from a crontab, and as a flow with its tasks on a Prefect server of this machine;
a process of the command line from start to exit each time. Told is also what `--json` says that the steps took.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.support.processes import free_port, started, until

NEXTPERIOD = [sys.executable, "-W", "ignore", "-m", "flows.cli.app"]
NUM_SHOPS, NUM_MONTHS = 40, 120
RECIPE = """
name = "shops"
frequency = "MS"
horizon = 12
[source]
kind = "csv"
path = "shops.csv"
period = "month"
value = "sold"
series = "shop"
[model]
pretrained = false
"""
SERVER_STARTS = 180


def write_shops(folder: Path) -> None:
    """A recipe, and its file: seasons of different sizes."""
    rows = [
        f"{shop},{2000 + m // 12}-{1 + m % 12:02d}-01,{100 + shop + (5 + shop % 7) * math.sin(m * math.pi / 6) + m * shop % 11}"
        for shop in range(NUM_SHOPS)
        for m in range(NUM_MONTHS)
    ]
    (folder / "shops.csv").write_text("\n".join(["shop,month,sold", *rows, ""]), "utf-8")
    (folder / "shops.toml").write_text(RECIPE, "utf-8")


def measure(folder: Path, api_url: str) -> tuple[float, float]:
    """Seconds of a process from start to exit, and of the steps of its cycle."""
    environment = {
        **os.environ,
        "NEXTPERIOD_DATABASE_URL": f"sqlite:///{folder}/bench.db",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": api_url,
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd())),
    }
    began = time.perf_counter()
    done = subprocess.run(
        [*NEXTPERIOD, "run", str(folder / "shops.toml"), "--retrain", "--json"],
        cwd=folder, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    steps = json.loads(done.stdout)["seconds"]
    return seconds, sum(steps.get(name, 0.0) for name in ("ingest", "train", "forecast", "score", "mlflow"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, port = Path(name), free_port()
        write_shops(folder)
        api_url = f"http://127.0.0.1:{port}/api"
        server = [
            Path(sys.executable).parent / "prefect",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect"), "PREFECT_API_URL": api_url}
        rounds: dict[str, list[tuple[float, float]]] = {"crontab": [], "Prefect server": []}
        with started(server, folder=folder, environment=environment, log=folder / "server.log"):
            until("the server is healthy", SERVER_STARTS, lambda: _is_healthy(api_url))
            measure(folder, "")  # creates the stores
            for _ in range(asked.rounds):
                for how, url in (("crontab", ""), ("Prefect server", api_url)):
                    rounds[how].append(measure(folder, url))
    print("| cycle with a training | seconds | of these in its steps | share of the rest | where steps take a minute |")
    print("|---|---|---|---|---|")
    for how, pairs in rounds.items():
        seconds, steps = (statistics.median(one) for one in zip(*pairs, strict=True))
        rest = statistics.median(1 - inside / whole for whole, inside in pairs)
        outside = seconds - steps
        share = outside / (60 + outside)  # what is outside the steps does not grow with them
        print(f"| {how} | {seconds:.1f} | {steps:.1f} | {100 * rest:.1f} % | {100 * share:.0f} % |")
    added = statistics.median(
        served[0] / alone[0] - 1 for alone, served in zip(rounds["crontab"], rounds["Prefect server"], strict=True)
    )
    print(f"\nPrefect adds {100 * added:.1f} % (median of the rounds).")


def _is_healthy(api_url: str) -> bool:
    try:
        return httpx.get(f"{api_url}/health").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
