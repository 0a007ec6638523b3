"""Sample paths in the store: those of a run are added to, never changed, and all of one addition or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import Overtaken
from pipeline.storage.bulk_load import Column, load
from pipeline.storage.engine import Database
from pipeline.storage.runs import forecast_in
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.forecast import Forecast

Array = npt.NDArray[np.float64]

#: rows that are loaded at a time
_LOADED = 500_000


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPaths:
    """A published run, and how many paths were drawn from it."""

    #: the run's row
    run: Row
    forecast: Forecast
    #: of the forecast's series, in its order
    series_ids: npt.NDArray[np.int64]
    num_paths: int

    @property
    def run_number(self) -> int:
        """The run's number."""
        return int(self.run["run_number"])


def read_run_paths(database: Database, run_id: str) -> RunPaths:
    """A run with what was drawn from it."""
    with database.read() as transaction:
        run = transaction.row("run", run_id=run_id)
        assert run is not None
        number = run["run_number"]
        forecast = forecast_in(transaction, number, run["origin"])
        ids = {row["series"]: row["series_id"] for row in transaction.rows("series_of_run", run_number=number)}
        return RunPaths(
            run=run,
            forecast=forecast,
            series_ids=np.array([ids[name] for name in forecast.series], np.int64),
            num_paths=_num_paths(transaction, number),
        )


def add_paths(database: Database, seen: RunPaths, num_paths: int, values: Iterable[Array]) -> None:
    """Write the paths that follow those which were seen, up to `num_paths`, whole.

    Args:
        database: where.
        seen: the run, and how many paths it had when the new ones were drawn.
        num_paths: how many each series has then.
        values: of the new paths, flat: series by series, path by path, step by step, in pieces of any size.

    Raises:
        Overtaken: others were written since, or the run was superseded.
    """
    run, horizon, num_new = seen.run, seen.forecast.horizon, num_paths - seen.num_paths
    with database.write() as transaction:
        transaction.row("lock_recipe", recipe=run["recipe"])
        now = transaction.row("run", run_id=run["run_id"])
        if now is None or now["status"] != "published" or _num_paths(transaction, seen.run_number) != seen.num_paths:
            raise Overtaken(f"run {run['run_id']} was superseded, or paths of it were written, meanwhile: run again")
        row = 0
        for piece in values:
            rows = np.arange(row, row + len(piece))
            series, within = np.divmod(rows, num_new * horizon)
            path, step = np.divmod(within, horizon)
            columns: dict[str, Column] = {
                "run_number": seen.run_number,
                "series_id": seen.series_ids[series],
                "path": (path + seen.num_paths + 1).astype(np.int32),
                "step": (step + 1).astype(np.int32),
                "value": piece,
            }
            load(transaction, "sample_paths", columns)
            row += len(piece)
        assert row == len(seen.series_ids) * num_new * horizon, "every series has every path"


def paths_of(database: Database, seen: RunPaths, num_paths: int) -> Iterator[tuple[str, int, Array]]:
    """The first paths of a run as they are kept: the series, the number of the first of some paths, and these [n, H]."""
    at_once = max(1, _LOADED // seen.forecast.horizon)
    with database.read() as transaction:
        for name, series_id in zip(seen.forecast.series, seen.series_ids.tolist(), strict=True):
            for first in range(1, num_paths + 1, at_once):
                last = min(first + at_once - 1, num_paths)
                yield name, first, _paths(transaction, seen, series_id, first, last)


def first_path(database: Database, seen: RunPaths, s: int) -> Array:
    """The first path of the forecast's series s as it is kept: [H]."""
    with database.read() as transaction:
        path: Array = _paths(transaction, seen, int(seen.series_ids[s]), 1, 1)[0]
        return path


def _num_paths(transaction: Transaction, run_number: int) -> int:
    row = transaction.row("num_paths_of_run", run_number=run_number)
    assert row is not None
    return int(row["num_paths"])


def _paths(transaction: Transaction, seen: RunPaths, series_id: int, first: int, last: int) -> Array:
    wanted = {"run_number": seen.run_number, "series_id": series_id, "first": first, "last": last}
    row = transaction.row("paths_of_series", **wanted)
    assert row is not None
    form = ">f8" if transaction.dialect == "postgresql" else "<f8"
    return np.frombuffer(row["numbers"], form).astype(np.float64).reshape(last - first + 1, seen.forecast.horizon)
