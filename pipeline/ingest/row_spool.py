"""Keep parsed rows in memory or, where they are many, on disk, and return them in parts of whole series."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

#: one parsed value: number of its series and variable, its place in the delivery, its period in microseconds
ROW = np.dtype([("series", "<i4"), ("file", "<i4"), ("line", "<i8"), ("period", "<i8"), ("value", "<f8")])

#: with the instant since when the value is known, in microseconds
VERSION_ROW = np.dtype([*ROW.descr, ("known_at", "<i8")])

Rows = npt.NDArray[np.void]  # [n] of ROW or VERSION_ROW

#: more rows than these go to disk
MAX_ROWS_IN_MEMORY = 2_000_000
#: a part ends with the series in which it reaches this many rows
PART_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class _SortedRun:
    """Rows sorted by series, in memory or in a file from `offset` on."""

    series: npt.NDArray[np.int32]  # [S], each once, ascending
    starts: npt.NDArray[np.int64]  # [S + 1] first row of each series, and the number of rows
    rows: Rows | None = None
    offset: int = 0

    def read(self, first: int, end: int, file: IO[bytes] | None, row: np.dtype[np.void]) -> Rows:
        """Return the rows of the series from `first`, inclusive, to `end`, exclusive."""
        start, stop = self.starts[np.searchsorted(self.series, [first, end])]
        if self.rows is not None:
            return self.rows[start:stop]
        assert file is not None
        file.seek(self.offset + start * row.itemsize)
        return np.frombuffer(file.read((stop - start) * row.itemsize), row)


@dataclass(slots=True)
class RowSpool:
    """Collects rows and returns them by series; a context that removes its file at the end."""

    max_rows_in_memory: int = MAX_ROWS_IN_MEMORY
    part_rows: int = PART_ROWS
    row: np.dtype[np.void] = ROW
    num_rows: int = 0
    _in_memory: list[Rows] = field(default_factory=list)
    _num_in_memory: int = 0
    _runs: list[_SortedRun] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _resources: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._resources.close()

    def add(self, rows: Rows) -> None:
        """Add rows in any order."""
        self.num_rows += len(rows)
        self._num_in_memory += len(rows)
        self._in_memory.append(rows)
        if self._num_in_memory > self.max_rows_in_memory:
            self._write_to_disk()

    def parts(self) -> Iterator[Rows]:
        """Yield all rows, some neighbouring whole series at a time, in ascending order of series.

        Rows of one series are in the order in which they were added. May be called again.
        """
        runs = list(self._runs)
        if self._num_in_memory:
            rows, series, starts = self._sort_in_memory()
            self._in_memory = [rows]
            runs.append(_SortedRun(series, starts, rows=rows))
        for first, end in pairwise(_part_bounds(runs, self.part_rows)):
            of_runs = [rows for run in runs if len(rows := run.read(first, end, self._file, self.row))]
            yield of_runs[0] if len(of_runs) == 1 else np.concatenate(of_runs)

    def _write_to_disk(self) -> None:
        file = self._open_file()
        rows, series, starts = self._sort_in_memory()
        self._in_memory, self._num_in_memory = [], 0
        self._runs.append(_SortedRun(series, starts, offset=file.seek(0, 2)))
        file.write(rows.data)

    def _open_file(self) -> IO[bytes]:
        """Return the temporary file, which has no name."""
        if self._file is None:
            with ExitStack() as stack:
                self._file = stack.enter_context(tempfile.TemporaryFile(prefix="nextperiod-"))
                self._resources = stack.pop_all()
        return self._file

    def _sort_in_memory(self) -> tuple[Rows, npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the rows in memory by series, each series once, and where each starts, as `_SortedRun` holds them."""
        rows = self._in_memory[0] if len(self._in_memory) == 1 else np.concatenate(self._in_memory)
        series = np.ascontiguousarray(rows["series"])
        if (series[1:] < series[:-1]).any():
            rows = rows[np.argsort(series, kind="stable")]
            series = np.ascontiguousarray(rows["series"])
        starts = np.flatnonzero(np.concatenate([[True], series[1:] != series[:-1], [True]]))
        return rows, series[starts[:-1]], starts


def _part_bounds(runs: list[_SortedRun], part_rows: int) -> list[int]:
    """Return the first series of each part, and the number after the last series."""
    if not runs:
        return [0]
    counts = np.zeros(1 + max(int(run.series[-1]) for run in runs), np.int64)
    for run in runs:
        counts[run.series] += np.diff(run.starts)
    part = (np.cumsum(counts) - counts) // part_rows
    return [*np.flatnonzero(np.diff(part, prepend=-1)).tolist(), len(counts)]
