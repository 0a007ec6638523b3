"""How long a reader waits for one series of a view: `python -m tests.benchmarks.views`, as `make bench` does.

A store of many series of 240 months is filled, with two published forecasts of 18 steps. Each view is read by recipe and series,
views without a series by recipe, from one connection, for another series each time; medians over the series, and their range.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from pipeline.storage.engine import Database, open_database
from pipeline.storage.schema import VIEWS, require_schema
from tests.benchmarks.bare import median_and_range
from tests.storage.test_plans_of_views import BY_RECIPE
from tests.support.servers import running_postgresql
from tests.support.wide_store import RECIPE, name_of_series, write_wide_store

LENGTH = 240


@contextmanager
def fresh(dialect: str) -> Iterator[Database]:
    """An empty database with the schema, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if dialect == "sqlite":
            database = open_database(f"sqlite:///{folder}/views.db")
            require_schema(database)
            yield database
            database.close()
            return
        with running_postgresql() as url:
            database = open_database(url.render_as_string(hide_password=False))
            require_schema(database)
            yield database
            database.close()


def milliseconds(database: Database, view: str, num_series: int, rounds: int) -> list[float]:
    """The time of each of so many reads, of a series that was not read before."""
    chosen = np.random.default_rng(0).choice(num_series, rounds + 1, replace=False).tolist()
    taken = []
    with database.read() as transaction:
        for n in chosen:
            condition = "" if view in BY_RECIPE else f" and series = '{name_of_series(n)}'"
            began = time.perf_counter()
            transaction.connection.exec_driver_sql(f"select * from {view} where recipe = '{RECIPE}'{condition}").all()
            taken.append(1000 * (time.perf_counter() - began))
    return taken[1:]  # the first one opens the connection


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    columns = {}
    for dialect in ("sqlite", "postgresql"):
        with fresh(dialect) as database:
            began = time.perf_counter()
            write_wide_store(database, asked.series, LENGTH)
            print(f"  {dialect}: filled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
            columns[dialect] = {
                view: median_and_range(milliseconds(database, view, asked.series, asked.rounds)) for view in VIEWS
            }
    print(f"| one series of {asked.series:,}, milliseconds | SQLite | PostgreSQL |\n|---|---|---|")
    for view in VIEWS:
        print(f"| `{view}` | {columns['sqlite'][view]} | {columns['postgresql'][view]} |")


if __name__ == "__main__":
    main()
