"""What a night of many series costs: `python -m tests.benchmarks.night`.

Monthly series are drawn with replacement from the M4 competition's, perturbed from a seed, and taken in as one recipe. A model
is trained once, on a few of them, and kept. Then a month comes: its observations are taken in, all series forecast, the forecasts of the month
before scored, everything published, by `nextperiod run`. Told are the seconds of its steps, those of SQL among them, and the resident memory of its
process at the peak; then the same from few series to many, and from short histories to long ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.storage.engine import open_database
from tests.benchmarks.accuracy import DATA

NEXTPERIOD = [sys.executable, "-W", "ignore", "-m", "flows.cli.app"]
STEPS = ("imports", "opening", "ingest", "train", "forecast", "score", "mlflow", "sql")
WIDTHS, WIDTH_AT_LENGTHS, LENGTHS, LENGTH = (100, 1_000, 10_000, 100_000), 2_000, (60, 240, 2_000), 240
#: a kept model costs a night the same, whatever it was trained on
TRAINED_ON = 30
#: carries a command out in a process that is small, since what a child has at its start counts as its peak
_MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(done.returncode)
"""
RECIPE = """
name = "night"
frequency = "MS"
horizon = 18
[source]
kind = "parquet"
path = "night.parquet"
period = "period"
value = "value"
series = "series"
rolling = true
max_gib = 8
[training]
policy = "keep"
members = {members}
"""


def drawn(num_series: int, length: int) -> npt.NDArray[np.float64]:
    """So many series, each from a real one: another size, some noise of its own; waves where M4 is not at hand."""
    rng = np.random.default_rng(0)
    file = DATA / "m4" / "monthly_train.parquet"
    if file.exists():
        frame = pq.read_table(file).to_pandas().sort_values(["unique_id", "step"])
        real = [np.resize(one.to_numpy(float), length) for _, one in frame.groupby("unique_id").value]
    else:
        real = [100 + 20 * np.sin(np.arange(length) / 12 * 2 * np.pi + n) for n in range(100)]
    made = np.stack(real)[rng.integers(0, len(real), num_series)]
    made *= rng.lognormal(0, 0.5, (num_series, 1))
    made *= rng.normal(1, 0.02, made.shape).clip(0.9, 1.1)
    return made


def write(path: Path, values: npt.NDArray[np.float64], first: int) -> None:
    """Months from one on, of all series, series after series."""
    months = (np.datetime64("1850-01", "M") + first + np.arange(values.shape[1])).astype("datetime64[us]")
    schema = pa.schema([("series", pa.string()), ("period", pa.timestamp("us")), ("value", pa.float64())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, len(values), 2000):
            part = values[start : start + 2000]
            names = np.repeat([f"series-{n:06d}" for n in range(start, start + len(part))], part.shape[1])
            columns = [pa.array(names), pa.array(np.tile(months, len(part))), pa.array(part.ravel())]
            writer.write_table(pa.table(columns, schema=schema))


@dataclass(frozen=True, slots=True)
class Night:
    """What one cost."""

    seconds: float
    peak_gib: float
    steps: dict[str, float]


def run(folder: Path, url: str, *arguments: str) -> tuple[float, float, Any]:
    """Seconds, the process's peak of resident memory in GiB, and what it said."""
    environment = {
        **os.environ,
        "NEXTPERIOD_DATABASE_URL": url,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "NEXTPERIOD_RECIPES": str(folder),
        "PREFECT_API_URL": "",
        "PYTHONPATH": os.environ.get("PYTHONPATH", str(Path.cwd())),
    }
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(folder / "peak"), *NEXTPERIOD, *arguments, "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    return seconds, int((folder / "peak").read_text("utf-8")) / 2**20, json.loads(done.stdout)


def night(folder: Path, url: str, num_series: int, length: int, members: int) -> Night:
    """Train on a few of the series, load all, forecast; then the night that is told."""
    (folder / "night.toml").write_text(RECIPE.format(members=members), "utf-8")
    values = drawn(num_series, length + 1)
    for command, width in (
        ("ingest", TRAINED_ON),
        ("train", TRAINED_ON),
        ("ingest", num_series),
        ("forecast", num_series),
    ):
        if command == "ingest":
            write(folder / "night.parquet", values[:width, :-1], 0)
        seconds, peak, _ = run(folder, url, command, "night")
        print(f"  {command} of {width:,} series of {length}: {seconds:.0f} s, {peak:.2f} GiB", file=sys.stderr)
    write(folder / "night.parquet", values[:, -1:], length)
    seconds, peak, said = run(folder, url, "run", "night")
    assert said["num_rows"] == num_series * 18
    assert said["training"] == "keep"
    assert num_scored(url) == num_series
    return Night(seconds, peak, said["seconds"])


def num_scored(url: str) -> int:
    """Published steps that are scored."""
    database = open_database(url)
    try:
        with database.read() as transaction:
            return int(transaction.connection.exec_driver_sql("select count(*) from scores").scalar_one())
    finally:
        database.close()


def measured(dialect: str, num_series: int, length: int, members: int) -> Night:
    """A night in a fresh database."""
    from tests.support.servers import running_postgresql

    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with running_postgresql() if dialect == "postgresql" else nullcontext() as server:
            if server is None:
                return night(folder, f"sqlite:///{folder}/night.db", num_series, length, members)
            engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql("create database night")
            try:
                url = server.set(database="night").render_as_string(hide_password=False)
                return night(folder, url, num_series, length, members)
            finally:
                with engine.connect() as connection:
                    connection.exec_driver_sql("drop database night with (force)")
                engine.dispose()


def plotted(nights: dict[tuple[str, int, int], Night], file: Path) -> None:
    """Seconds by number of series, and by length of the history."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nextperiod"
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for dialect in sorted({key[0] for key in nights}):
        own = sorted((key[1:], one.seconds) for key, one in nights.items() if key[0] == dialect)
        wide = [(width, seconds) for (width, length), seconds in own if length == LENGTH]
        long = [(length, seconds) for (width, length), seconds in own if width == WIDTH_AT_LENGTHS]
        left.loglog(*zip(*wide, strict=True), "o-", label=dialect)
        right.semilogx(*zip(*long, strict=True), "o-", label=dialect)
    left.set(xlabel=f"series of {LENGTH} months", ylabel="seconds of a night")
    right.set(xlabel=f"months of {WIDTH_AT_LENGTHS:,} series", ylim=(0, None))
    left.legend()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Print the table, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--series", type=int, action="append")
    parser.add_argument("--length", type=int, action="append")
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--plot", type=Path)
    asked = parser.parse_args()
    sizes = [(width, LENGTH) for width in asked.series or WIDTHS]
    sizes += [(WIDTH_AT_LENGTHS, length) for length in asked.length or (() if asked.series else LENGTHS)]
    print("| database | series | history | seconds | peak, GiB | " + " | ".join(STEPS) + " |")
    print("|---|---|---|---|---|" + "---|" * len(STEPS))
    nights = {}
    for dialect in asked.database or ["sqlite", "postgresql"]:
        for num_series, length in sizes:
            made = nights[dialect, num_series, length] = measured(dialect, num_series, length, asked.members)
            steps = " | ".join(f"{made.steps.get(step, 0):.1f}" for step in STEPS)
            print(
                f"| {dialect} | {num_series:,} | {length} | {made.seconds:.1f} | {made.peak_gib:.2f} | {steps} |",
                flush=True,
            )
    if asked.plot:
        plotted(nights, asked.plot)


if __name__ == "__main__":
    main()
