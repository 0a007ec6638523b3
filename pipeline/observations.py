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
class Contract:
    """What a source promises of its rows, and what happens to those that break it."""

    #: names of the columns, as messages and tables show them
    period: str = "period"
    value: str = "value"
    series: str | None = None
    #: strptime format of the periods; None: ISO 8601, the same in every row
    period_format: str | None = None
    #: the date of period 1, where periods are counted
    counted_from: str | None = None
    #: an empty value is to "reject", or a "gap"
    missing: str = "reject"
    #: of different values for one period the "first" or the "last" counts, or it is an "error"
    duplicates: str = "error"
    #: larger magnitudes are faults
    limit: float = 1e15
    #: share of rows that may be refused before all are
    max_rejected: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RawBatch:
    """All that a source gave, in its own order."""

    #: where it came from, as messages and tables show it
    source: str
    content_hash: str
    rows: tuple[RawRow, ...]
    contract: Contract = Contract()
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
