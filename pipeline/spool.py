"""Parsed rows in memory or, where they are many, on disk: in parts, each of which holds whole series."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Self

import numpy as np
import numpy.typing as npt

#: one parsed value: of which series and variable, where it was told, and what
ROW = np.dtype([("series", "<i4"), ("file", "<i4"), ("line", "<i8"), ("period", "<i8"), ("value", "<f8")])

Rows = npt.NDArray[np.void]  # [n] of ROW

#: more rows than these go to disk
MOST_IN_MEMORY = 2_000_000
NUM_PARTS = 32
#: neighbouring series go to one part, so that each part is loaded in few runs of the key
_RUNS_IN_A_PART = 4


@dataclass(slots=True)
class Spool:
    """Rows by series; a context, whose files go at its end."""

    num_rows: int = 0
    _in_memory: list[Rows] = field(default_factory=list)
    _num_in_memory: int = 0
    _files: list[IO[bytes]] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)
    _neighbours: int = 1

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
        """All rows of some series at a time, in the order in which they came."""
        if not self._files:
            if self.num_rows:
                self._in_memory = [np.concatenate(self._in_memory)]
                yield self._in_memory[0]
            return
        self._write()
        for file in self._files:
            file.seek(0)
            rows = np.frombuffer(file.read(), ROW)
            if len(rows):
                yield rows

    def _write(self) -> None:
        """Move what is in memory to the files, side by side by the number of the series."""
        if not self._in_memory:
            return
        rows = np.concatenate(self._in_memory)
        self._in_memory, self._num_in_memory = [], 0
        if not self._files:
            with ExitStack() as stack:
                self._files = [
                    stack.enter_context(tempfile.TemporaryFile(prefix="nextperiod-")) for _ in range(NUM_PARTS)
                ]
                self._open = stack.pop_all()
            self._neighbours = 1 + int(rows["series"].max()) // (_RUNS_IN_A_PART * NUM_PARTS)
        part = rows["series"] // self._neighbours % NUM_PARTS
        order = np.argsort(part, kind="stable")
        bounds = np.searchsorted(part[order], np.arange(NUM_PARTS + 1))
        for n, file in enumerate(self._files):
            file.write(rows[order[bounds[n] : bounds[n + 1]]].tobytes())
