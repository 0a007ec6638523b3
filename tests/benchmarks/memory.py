"""Takes a large CSV file in and prints the peak of resident memory: `python -m tests.benchmarks.memory URL ROWS FOLDER`."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.jobs.ingest import ingest_source
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.benchmarks.loads import LENGTH, months

#: series whose lines are written at a time
_WRITTEN = 1_000


def write_csv(path: Path, num_rows: int) -> None:
    """Months of many series, series by series."""
    periods = [str(period)[:10] for period in months(LENGTH)]
    random = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("period,series,value\n")
        for start in range(0, num_rows // LENGTH, _WRITTEN):
            count = min(_WRITTEN, num_rows // LENGTH - start)
            values = random.normal(100, 10, (count, LENGTH)).round(3).tolist()
            file.writelines(
                f"{period},series-{start + s:06d},{value}\n"
                for s in range(count)
                for period, value in zip(periods, values[s], strict=True)
            )


def large_recipe(folder: Path) -> Recipe:
    """Reads the file."""
    text = 'name = "large"\nfrequency = "MS"\nhorizon = 18\n[source]\nkind = "csv"\npath = "large.csv"\nperiod = "period"\nvalue = "value"\nseries = "series"\n'
    return parse_recipe(text, where="large.toml", folder=folder)


def peak_mib() -> int:
    """The most memory that this process ever had resident; `getrusage` would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main(url: str, num_rows: int, folder: Path) -> None:
    """Take the file in and say what it took."""
    if not (folder / "large.csv").exists():
        write_csv(folder / "large.csv", num_rows)
    database = open_database(url)
    require_schema(database)
    store, recipe = Store(database), large_recipe(folder)
    store.recipes.register(recipe)
    before = peak_mib()
    began = time.perf_counter()
    taken = ingest_source(recipe, store, datetime.now(UTC))
    seconds = time.perf_counter() - began
    print(f"{taken.num_new} {seconds:.1f} {before} {peak_mib()}")
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], int(float(sys.argv[2])), Path(sys.argv[3]))
