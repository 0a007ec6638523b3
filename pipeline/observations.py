"""Rows on their way in: as a source lists them, and as they are taken in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import Rejection
from pipeline.frequency import Periods


@dataclass(frozen=True, kw_only=True, slots=True)
class RawRow:
    """One row of a source, as text."""

    line: int
    period: str
    value: str
    series: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RawBatch:
    """All that a source gave, in its own order."""

    #: where it came from, as messages and tables show it
    source: str
    content_hash: str
    rows: tuple[RawRow, ...]
    #: rows that could not even be split into columns
    rejections: tuple[Rejection, ...] = ()
    #: whether the last line was ended; a file that is cut lacks that
    ended: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """Values by series and period, in that order."""

    names: tuple[str, ...]
    series: npt.NDArray[np.int64]  # [n], positions in names
    period: Periods  # [n]
    value: npt.NDArray[np.float64]  # [n]

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanBatch:
    """What of a batch is to be recorded."""

    source: str
    content_hash: str
    #: only what is new or revised
    observations: Observations
    num_read: int
    num_new: int
    num_revised: int
    num_same: int
    rejections: tuple[Rejection, ...]
    #: the longest history after this batch, and its periods
    longest_series: str
    longest_length: int
