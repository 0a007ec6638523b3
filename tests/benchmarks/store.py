"""How fast the store is beside the bare statements: `python -m tests.benchmarks.store`, as `make bench` does.

Each ratio is of two runs that follow each other in the same round; medians over the rounds, and their range.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.records.lineage import Lineage
from pipeline.storage.batches import BatchHeader
from pipeline.storage.engine import Database, open_database
from pipeline.storage.runs import Publication
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.observations import TARGET
from tests.benchmarks.bare import (
    FORECASTS,
    OBSERVATIONS,
    load_bare,
    load_by_pandas,
    make_table,
    median_and_range,
    observation_columns,
    read_bare,
    version_of,
)
from tests.benchmarks.loads import bench_recipe, load_through_store, months, panelled

HORIZON = 18
CONTEXT = 36
#: pandas is slow: so many of its rows are timed
_ROWS_OF_PANDAS = 100_000
_SETTINGS_OF_PANDAS: dict[str, list[dict[str, Any]]] = {
    "sqlite": [{}, {"chunksize": 10_000}, {"method": "multi", "chunksize": 5_000}],
    "postgresql": [{}, {"chunksize": 10_000}, {"method": "multi", "chunksize": 5_000}],
}


class Bench:
    """One database after the other, of one kind."""

    def __init__(self, dialect: str, folder: Path, server: sa.URL | None, rounds: int) -> None:
        self.dialect, self.folder, self.server, self.rounds = dialect, folder, server, rounds
        self.lines: list[tuple[str, str]] = []

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """An empty database with the schema, gone at the end."""
        if self.server is None:
            path = self.folder / "bench.db"
            url = f"sqlite:///{path}"
        else:
            self._on_server("create database bench")
            url = self.server.set(database="bench").render_as_string(hide_password=False)
        database = open_database(url)
        require_schema(database)
        Store(database).recipes.register(bench_recipe())
        try:
            yield database
        finally:
            database.close()
            if self.server is None:
                path.unlink()
            else:
                self._on_server("drop database bench with (force)")

    def _on_server(self, statement: str) -> None:
        assert self.server is not None
        engine = sa.create_engine(self.server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()

    def settle(self, database: Database) -> None:
        """What autovacuum does in a while after a large load."""
        if self.dialect == "postgresql":
            with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("vacuum analyze observations")
                connection.exec_driver_sql("checkpoint")

    def say(self, what: str, figure: str) -> None:
        """Print a line at once."""
        self.lines.append((what, figure))
        print(f"{self.dialect:<11}{what:<94}{figure}", flush=True)


def bench_loads(bench: Bench, num_rows: int) -> None:
    """The bulk load, and the same batch again with 1 % of it changed."""
    panel = panelled(num_rows)
    columns = observation_columns(panel)
    shares, seconds, again, third, rates = [], [], [], [], []
    for n in range(bench.rounds):
        with bench.fresh() as database:
            store = Store(database)
            make_table(database, "bare", OBSERVATIONS)
            took = {}
            for which in ("bare", "own") if n % 2 else ("own", "bare"):
                if which == "bare":
                    took[which] = load_bare(database, "bare", columns)
                else:
                    took[which] = load_through_store(store, panel, "0")[1]
            bare, own = took["bare"], took["own"]
            bench.settle(database)
            second = load_through_store(store, panel.revised(0.01), "1")[1]
            shares.append(bare / own)
            seconds.append(own)
            again.append(second / own)
            third.append(load_through_store(store, panel.revised(0.01), "2")[1] / own)
            rates.append(_pandas_seconds(database, panel, n) * panel.num_rows / own)
    bench.say(
        f"bulk load of {panel.num_rows:,} observations: speed as a share of the bare load", median_and_range(shares)
    )
    bench.say("  seconds", median_and_range(seconds))
    bench.say("  times as fast as DataFrame.to_sql at its best setting", median_and_range(rates))
    bench.say("second load, 1 % changed: time as a share of the first", median_and_range(again))
    bench.say("third load, nothing changed: time as a share of the first", median_and_range(third))


def _pandas_seconds(database: Database, panel: Any, n: int) -> float:
    """Seconds for a row with its best setting, found in the first round."""
    settings = _SETTINGS_OF_PANDAS[database.url.get_backend_name()]
    if n == 0:
        timed = [load_by_pandas(database, panel, _ROWS_OF_PANDAS, **one) for one in settings]
        best = settings[int(np.argmin(timed))]
        settings[:] = [best]
        print(f"  to_sql at its best: {best}", file=sys.stderr)
    return load_by_pandas(database, panel, _ROWS_OF_PANDAS, **settings[0])


def bench_context(bench: Bench, num_series: int) -> None:
    """Reading what a nightly forecast needs, with a long and with a short history."""
    ratios, seconds = {}, {}
    for length in (60, 240):
        panel = panelled(num_series * length, length)
        since = str(months(length)[-CONTEXT])[:10]
        with bench.fresh() as database:
            store = Store(database)
            load_through_store(store, panel, "0")
            at = store.batches.latest_as_of("bench", datetime.now(UTC))
            assert at is not None
            bench.settle(database)
            pairs = []
            for n in range(bench.rounds):
                took = {}
                for which in ("bare", "own") if n % 2 else ("own", "bare"):
                    if which == "bare":
                        took[which] = read_bare(database, since)
                    else:
                        began = time.perf_counter()
                        found = store.observations.values(bench_recipe(), at.batch_id, length=CONTEXT)
                        took[which] = time.perf_counter() - began
                        assert len(found) == num_series * CONTEXT
                pairs.append((took["own"] / took["bare"], took["own"]))
            ratios[length], seconds[length] = ([pair[n] for pair in pairs] for n in (0, 1))
    against = "copy (select …) to stdout" if bench.dialect == "postgresql" else "select and fetchall"
    bench.say(
        f"context of {num_series:,} series, {CONTEXT} of 240: time as a multiple of a bare {against}",
        median_and_range(ratios[240]),
    )
    bench.say("  seconds", median_and_range(seconds[240]))
    bench.say(
        "  time as a multiple of that with a history of 60", f"{np.median(seconds[240]) / np.median(seconds[60]):.2f}"
    )


def bench_publication(bench: Bench, num_series: int) -> None:
    """Publishing a forecast of many series."""
    recipe, names = bench_recipe(), [f"series-{n:06d}" for n in range(num_series)]
    mean = np.random.default_rng(0).normal(100, 10, (num_series, HORIZON))
    ratios, seconds = [], []
    with bench.fresh() as database:
        store = Store(database)
        with store.batches.write(
            BatchHeader(recipe="bench", source="bench", content_hash="0"), datetime.now(UTC)
        ) as intake:
            intake.register([(name, TARGET) for name in names])
            intake.finish(dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0), [])
        with database.write() as transaction:
            transaction.connection.exec_driver_sql(_A_MODEL)
        for n in range(bench.rounds):
            origin = months(n + 1)[-1]
            made = Forecast(
                series=tuple(names),
                origin=origin,
                periods=recipe.grid.after(origin, HORIZON),
                mean=mean,
                quantiles=mean[:, :, None] + np.array([-8.0, -5.0, 0.0, 5.0, 8.0]),
                method=("lstm",) * num_series,
                reason=(None,) * num_series,
                baseline=mean,
                scale=np.ones(num_series),
            )
            took = {}
            for which in ("bare", "own") if n % 2 else ("own", "bare"):
                if which == "bare":
                    make_table(database, "bare", FORECASTS)
                    took[which] = load_bare(database, "bare", _forecast_columns(made))
                else:
                    began = time.perf_counter()
                    store.runs.publish(_publication(made, store), datetime.now(UTC))
                    took[which] = time.perf_counter() - began
            ratios.append(took["own"] / took["bare"])
            seconds.append(took["own"])
    bench.say(
        f"publishing {num_series:,} series x {HORIZON} steps: time as a multiple of the bare load",
        median_and_range(ratios),
    )
    bench.say("  seconds", median_and_range(seconds))


_A_MODEL = """
insert into models (recipe, model_version, model_hash, training, reason, cutoff, as_of, data_hash, recipe_fingerprint,
    training_fingerprint, code_version, record, trained_at)
values ('bench', 1, 'm', 'retrain', 'first', '2000-01-01', '2026-01-01 00:00:00.000000+00:00', 'd', 'f', 'f', 'c', '{}',
    '2026-01-01 00:00:00.000000+00:00')"""


def _publication(made: Forecast, store: Store) -> Publication:
    class AnyModel:
        model_hash, model_version = "m", 1

    model: Any = AnyModel()
    now = datetime.now(UTC)
    lineage = Lineage(as_of=now, data_hash="d", recipe_fingerprint="f", code_version="c")
    return Publication(
        recipe=bench_recipe(),
        forecast=made,
        model=model,
        lineage=lineage,
        kind="live",
        expected_next_by=now,
        fencing_token=0,
    )


def _forecast_columns(made: Forecast) -> dict[str, Any]:
    """Rows as a person would keep them in one table."""
    count = len(made.series)
    names = ("lower_95", "lower_80", "median", "upper_80", "upper_95")
    return {
        "run_id": "bench-2000-01-01-1",
        "series_id": np.repeat(np.arange(1, count + 1), HORIZON),
        "step": np.tile(np.arange(1, HORIZON + 1), count),
        "period": np.tile(made.periods, count),
        "mean": made.mean.ravel(),
        **{name: made.quantiles[:, :, q].ravel() for q, name in enumerate(names)},
        "method": "lstm",
        "reason": None,
    }


def bench_memory(bench: Bench, num_rows: int) -> None:
    """The peak of a process that takes a large file in."""
    with bench.fresh() as database:
        url = database.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.benchmarks.memory", url, str(num_rows), str(bench.folder)]
        taken, seconds, before, peak = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
    bench.say(f"a CSV file of {int(taken):,} rows: resident memory at its peak (before)", f"{peak} MiB ({before})")
    bench.say("  seconds, reading and checking included", seconds)


def main() -> None:
    """Print all figures of both databases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=float, default=5e6)
    parser.add_argument("--series", type=float, default=1e5)
    parser.add_argument("--large", type=float, default=25e6)
    parser.add_argument("--only", choices=["loads", "context", "publication", "memory"], action="append")
    asked = parser.parse_args()
    from tests.support.servers import running_postgresql

    for dialect in asked.database or ["sqlite", "postgresql"]:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, running_postgresql() as server:
            bench = Bench(dialect, Path(folder), server if dialect == "postgresql" else None, asked.rounds)
            with bench.fresh() as database:
                bench.say("version", version_of(database))
            parts = {
                "loads": lambda: bench_loads(bench, int(asked.rows)),  # noqa: B023
                "context": lambda: bench_context(bench, int(asked.series)),  # noqa: B023
                "publication": lambda: bench_publication(bench, int(asked.series)),  # noqa: B023
                "memory": lambda: bench_memory(bench, int(asked.large)),  # noqa: B023
            }
            for name in asked.only or parts:
                parts[name]()


if __name__ == "__main__":
    main()
