"""Parsed rows in memory or, where they are many, on disk: in parts, each of which holds whole series."""

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

#: one parsed value: of which series and variable, where it was told, and what
ROW = np.dtype([("series", "<i4"), ("file", "<i4"), ("line", "<i8"), ("period", "<i8"), ("value", "<f8")])

Rows = npt.NDArray[np.void]  # [n] of ROW

#: more rows than these go to disk
MOST_IN_MEMORY = 2_000_000
#: a part ends with the series that reaches so many rows
PART_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class _Run:
    """Rows by series, in memory or from a place in a file on."""

    series: npt.NDArray[np.int32]  # [S], each once, ascending
    starts: npt.NDArray[np.int64]  # [S + 1] where the rows of each begin, and the end
    rows: Rows | None = None
    offset: int = 0

    def read(self, first: int, end: int, file: IO[bytes] | None) -> Rows:
        """The rows of the series from `first` to before `end`."""
        start, stop = self.starts[np.searchsorted(self.series, [first, end])]
        if self.rows is not None:
            return self.rows[start:stop]
        assert file is not None
        file.seek(self.offset + start * ROW.itemsize)
        return np.frombuffer(file.read((stop - start) * ROW.itemsize), ROW)


@dataclass(slots=True)
class RowSpool:
    """Rows by series; a context, whose file goes at its end."""

    num_rows: int = 0
    _in_memory: list[Rows] = field(default_factory=list)
    _num_in_memory: int = 0
    _runs: list[_Run] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.close()

    def add(self, rows: Rows) -> None:
        """Take rows in."""
        self.num_rows += len(rows)
        self._num_in_memory += len(rows)
        self._in_memory.append(rows)
        if self._num_in_memory > MOST_IN_MEMORY:
            self._write()

    def parts(self) -> Iterator[Rows]:
        """All rows of some neighbouring series at a time, from the first to the last.

        Those of one series are in the order in which they came.
        """
        runs = list(self._runs)
        if self._num_in_memory:
            rows, series, starts = self._sorted()
            self._in_memory = [rows]
            runs.append(_Run(series, starts, rows=rows))
        bounds = _bounds(runs)
        for first, end in pairwise(bounds):
            found = [rows for run in runs if len(rows := run.read(first, end, self._file))]
            yield found[0] if len(found) == 1 else np.concatenate(found)

    def _write(self) -> None:
        """Move what is in memory to the file."""
        file = self._opened()
        rows, series, starts = self._sorted()
        self._in_memory, self._num_in_memory = [], 0
        self._runs.append(_Run(series, starts, offset=file.seek(0, 2)))
        file.write(rows.data)

    def _opened(self) -> IO[bytes]:
        """The file, which has no name."""
        if self._file is None:
            with ExitStack() as stack:
                self._file = stack.enter_context(tempfile.TemporaryFile(prefix="nextperiod-"))
                self._open = stack.pop_all()
        return self._file

    def _sorted(self) -> tuple[Rows, npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """What is in memory by series, each in the order in which it came; the series, and where they begin."""
        rows = self._in_memory[0] if len(self._in_memory) == 1 else np.concatenate(self._in_memory)
        series = np.ascontiguousarray(rows["series"])
        if (series[1:] < series[:-1]).any():
            rows = rows[np.argsort(series, kind="stable")]
            series = np.ascontiguousarray(rows["series"])
        starts = np.flatnonzero(np.concatenate([[True], series[1:] != series[:-1], [True]]))
        return rows, series[starts[:-1]], starts


def _bounds(runs: list[_Run]) -> list[int]:
    """The first series of each part, and the end."""
    if not runs:
        return [0]
    counts = np.zeros(1 + max(int(run.series[-1]) for run in runs), np.int64)
    for run in runs:
        counts[run.series] += np.diff(run.starts)
    part = (np.cumsum(counts) - counts) // PART_ROWS
    return [*np.flatnonzero(np.diff(part, prepend=-1)).tolist(), len(counts)]
