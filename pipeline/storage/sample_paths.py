"""Sample paths of a run: paths are added and never changed, and one addition is written as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import Overtaken
from pipeline.storage.bulk_load import Column, load
from pipeline.storage.engine import Database
from pipeline.storage.runs import read_forecast
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.forecast import Forecast

Array = npt.NDArray[np.float64]

#: about so many values are read at a time
_BLOCK = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPaths:
    """A published run, and how many sample paths each of its series has."""

    #: the columns of the run
    run: Row
    forecast: Forecast
    #: ids of the forecast's series, in its order: [S]
    series_ids: npt.NDArray[np.int64]
    num_paths: int

    @property
    def run_number(self) -> int:
        """The run's number."""
        return int(self.run["run_number"])


@dataclass(frozen=True, slots=True)
class SamplePathRepository:
    """Sample paths in one database."""

    database: Database

    def of_run(self, run_id: str) -> RunPaths:
        """A run, its forecast and its number of paths.

        Raises:
            LookupError: there is no such run.
        """
        with self.database.read() as transaction:
            run = transaction.one("run", run_id=run_id)
            run_number = run["run_number"]
            forecast = read_forecast(transaction, run_number, run["origin"])
            rows = transaction.rows("series_of_run", run_number=run_number)
            id_of = {row["series"]: row["series_id"] for row in rows}
            return RunPaths(
                run=run,
                forecast=forecast,
                series_ids=np.array([id_of[name] for name in forecast.series], np.int64),
                num_paths=_num_paths(transaction, run_number),
            )

    def add(self, paths: RunPaths, num_paths: int, values: Iterable[Array]) -> None:
        """Write the paths after the existing ones, up to `num_paths` a series, in one transaction.

        Args:
            paths: the run, and its number of paths when the new ones were drawn.
            num_paths: of each series afterwards.
            values: of the new paths, flat: by series, path and step; in blocks of any size.

        Raises:
            Overtaken: other paths were written since, or the run was superseded.
        """
        run, horizon, num_new = paths.run, paths.forecast.horizon, num_paths - paths.num_paths
        with self.database.write() as transaction:
            transaction.row("lock_recipe", recipe=run["recipe"])
            _require_unchanged(transaction, paths)
            num_written = 0
            for block in values:
                rows = np.arange(num_written, num_written + len(block))
                series, row_of_series = np.divmod(rows, num_new * horizon)
                path, step = np.divmod(row_of_series, horizon)
                columns: dict[str, Column] = {
                    "run_number": paths.run_number,
                    "series_id": paths.series_ids[series],
                    "path": (path + paths.num_paths + 1).astype(np.int32),
                    "step": (step + 1).astype(np.int32),
                    "value": block,
                }
                load(transaction, "sample_paths", columns)
                num_written += len(block)
            assert num_written == len(paths.series_ids) * num_new * horizon, "every series has every path"

    def read(self, paths: RunPaths, num_paths: int) -> Iterator[tuple[str, int, Array]]:
        """The first paths of each series, in blocks: the series, the number of the block's first path, values [n, H]."""
        paths_per_block = max(1, _BLOCK // paths.forecast.horizon)
        with self.database.read() as transaction:
            for name, series_id in zip(paths.forecast.series, paths.series_ids.tolist(), strict=True):
                for first in range(1, num_paths + 1, paths_per_block):
                    last = min(first + paths_per_block - 1, num_paths)
                    yield name, first, _read_paths(transaction, paths, series_id, first, last)

    def first_path(self, paths: RunPaths, s: int) -> Array:
        """The first path of the forecast's series s: [H]."""
        with self.database.read() as transaction:
            path: Array = _read_paths(transaction, paths, int(paths.series_ids[s]), 1, 1)[0]
        return path


def _require_unchanged(transaction: Transaction, paths: RunPaths) -> None:
    run_id = paths.run["run_id"]
    run = transaction.row("run", run_id=run_id)
    is_published = run is not None and run["status"] == "published"
    if not is_published or _num_paths(transaction, paths.run_number) != paths.num_paths:
        raise Overtaken(f"run {run_id} was superseded, or paths of it were written, meanwhile: run again")


def _num_paths(transaction: Transaction, run_number: int) -> int:
    return int(transaction.one("count_paths", run_number=run_number)["num_paths"])


def _read_paths(transaction: Transaction, paths: RunPaths, series_id: int, first: int, last: int) -> Array:
    """Paths number `first` to `last` of one series, both inclusive: [n, H]."""
    row = transaction.one("paths_of_series", run_number=paths.run_number, series_id=series_id, first=first, last=last)
    dtype = ">f8" if transaction.dialect == "postgresql" else "<f8"
    return np.frombuffer(row["numbers"], dtype).astype(np.float64).reshape(last - first + 1, paths.forecast.horizon)
