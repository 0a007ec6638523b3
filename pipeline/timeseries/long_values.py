"""Values by series and period as three columns, for data that is too large for one object a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.timeseries.frequency import Periods

#: a look-up table of all keys is made if it has at most this many slots for each value
_MOST_SLOTS_PER_VALUE = 3


@dataclass(frozen=True, slots=True)
class LongValues:
    """n values in order of series and period; each pair occurs once."""

    series: npt.NDArray[np.int64]  # [n]
    period: Periods  # [n]
    value: npt.NDArray[np.float64]  # [n], NaN: withdrawn

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LongValues:
        """Return the rows that indices or a mask [n] select."""
        return LongValues(self.series[rows], self.period[rows], self.value[rows])

    def without_withdrawn(self) -> LongValues:
        """Return the values that were not withdrawn."""
        is_withdrawn = np.isnan(self.value)
        return self.take(~is_withdrawn) if is_withdrawn.any() else self

    def last(self, length: int) -> LongValues:
        """Return so many of the last values of each series."""
        starts = self.starts()
        lengths = np.diff(starts)  # [S]
        if lengths.max(initial=0) <= length:
            return self
        from_end = np.repeat(starts[1:], lengths) - np.arange(len(self))  # [n], 1 for the last value of a series
        return self.take(from_end <= length)

    def positions(self, series: npt.NDArray[np.int64], period: Periods) -> npt.NDArray[np.int64]:
        """Return the row of each of m pairs of series and period, -1 where there is none: [m]."""
        if len(self) == 0:
            return np.full(len(series), -1, np.int64)
        if len(series) == len(self) and (series == self.series).all() and (period == self.period).all():
            return np.arange(len(series))
        codes, distinct = pd.factorize(np.concatenate([self.period, period]))
        keys = np.concatenate([self.series, series]) * len(distinct) + codes
        keys -= keys.min()
        own, wanted = keys[: len(self)], keys[len(self) :]
        num_slots = int(keys.max()) + 1
        if num_slots <= _MOST_SLOTS_PER_VALUE * len(keys):
            row_of_key = np.full(num_slots, -1, np.int64)
            row_of_key[own] = np.arange(len(own))
            return row_of_key[wanted]
        order = np.argsort(own)
        row = order[np.minimum(np.searchsorted(own, wanted, sorter=order), len(own) - 1)]
        return np.where(own[row] == wanted, row, -1)

    def starts(self) -> npt.NDArray[np.int64]:
        """Return the first row of each of the S series that occur, and n at the end: [S + 1]."""
        return np.flatnonzero(np.concatenate([[True], self.series[1:] != self.series[:-1], [True]]))


@dataclass(frozen=True, slots=True)
class Versions:
    """n versions of values in order of series, period and the instant since when each is known."""

    values: LongValues
    known_at: Periods  # [n]

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Versions:
        """Return the rows that indices or a mask [n] select."""
        return Versions(self.values.take(rows), self.known_at[rows])


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionChange:
    """What delivered versions add to the stored ones."""

    #: first versions of periods that have none yet
    new: Versions
    #: versions that are newer than every stored one
    revised: Versions
    #: versions that were known before a stored one
    older: Versions
    num_same: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What delivered values add to the stored ones."""

    #: values of periods that have none yet
    new: LongValues
    #: values of periods that have another one
    revised: LongValues
    num_same: int = 0


def empty_values() -> LongValues:
    """Return no values."""
    return LongValues(np.empty(0, np.int64), np.empty(0, "datetime64[us]"), np.empty(0))


def merge(stored: LongValues, newer: LongValues) -> LongValues:
    """Return the values of both, in order; the newer value counts where both have one."""
    if len(stored) == 0 or len(newer) == 0:
        return newer if len(stored) == 0 else stored
    kept = stored.take(newer.positions(stored.series, stored.period) < 0)
    return _sort(concatenate(kept, newer)) if len(kept) else newer


def concatenate(*parts: LongValues) -> LongValues:
    """Return the rows of at least one part, one part after the other: they are not in order of series and period."""
    return LongValues(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.period for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def apply_revisions(values: LongValues, revisions: LongValues) -> LongValues:
    """Return the values in order, revised and extended.

    Args:
        values: in order of series and period.
        revisions: in the order in which they were recorded. A pair may occur several times: the last one counts.
    """
    if len(revisions) == 0:
        return values
    row = values.positions(revisions.series, revisions.period)
    if (row >= 0).all():
        value = values.value.copy()
        value[row] = revisions.value  # NumPy keeps the last of several
        return LongValues(values.series, values.period, value)
    both = _sort(concatenate(values, revisions))
    is_last = np.ones(len(both), bool)
    is_last[:-1] = (both.series[1:] != both.series[:-1]) | (both.period[1:] != both.period[:-1])
    return both.take(is_last)


def _sort(values: LongValues) -> LongValues:
    """Sort by series and period; rows of the same pair keep their order."""
    return values.take(np.lexsort((values.period, values.series)))
