"""Values by series and period, as long columns: what is loaded, read and compared at width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.timeseries.frequency import Periods

#: a table of all series and periods is made where it has at most this many slots for each value
_MOST_EMPTY = 3


@dataclass(frozen=True, slots=True)
class LongValues:
    """Values in order of series and period; each pair once."""

    series: npt.NDArray[np.int64]  # [n]
    period: Periods  # [n]
    value: npt.NDArray[np.float64]  # [n]

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> LongValues:
        """Some of them."""
        return LongValues(self.series[rows], self.period[rows], self.value[rows])

    def positions(self, series: npt.NDArray[np.int64], period: Periods) -> npt.NDArray[np.int64]:
        """Where each (series, period) is; -1 where it is not."""
        if len(self) == 0:
            return np.full(len(series), -1, np.int64)
        if len(series) == len(self) and (series == self.series).all() and (period == self.period).all():
            return np.arange(len(series))
        codes, distinct = pd.factorize(np.concatenate([self.period, period]))
        keys = np.concatenate([self.series, series]) * len(distinct) + codes
        lowest = int(keys.min())
        size = int(keys.max()) - lowest + 1
        held, wanted = keys[: len(self)] - lowest, keys[len(self) :] - lowest
        if size <= _MOST_EMPTY * len(keys):
            place = np.full(size, -1, np.int64)
            place[held] = np.arange(len(held))
            return place[wanted]
        order = np.argsort(held)
        at = order[np.minimum(np.searchsorted(held, wanted, sorter=order), len(held) - 1)]
        return np.where(held[at] == wanted, at, -1)

    def starts(self) -> npt.NDArray[np.int64]:
        """Where each series begins, and the end."""
        return np.flatnonzero(np.concatenate([[True], self.series[1:] != self.series[:-1], [True]]))


def empty_values() -> LongValues:
    """None."""
    return LongValues(np.empty(0, np.int64), np.empty(0, "datetime64[us]"), np.empty(0))


def merge(known: LongValues, told: LongValues) -> LongValues:
    """Both, with the told value where both have one."""
    if len(known) == 0 or len(told) == 0:
        return told if len(known) == 0 else known
    others = known.take(told.positions(known.series, known.period) < 0)
    if len(others) == 0:
        return told
    both = concatenate(others, told)
    return both.take(np.lexsort((both.period, both.series)))


def concatenate(*parts: LongValues) -> LongValues:
    """One behind the other, in no order; at least one."""
    return LongValues(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.period for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def apply_revisions(told: LongValues, later: LongValues) -> LongValues:
    """Values in order, with what was said later of their periods, or of others; of several the last one counts."""
    if len(later) == 0:
        return told
    place = told.positions(later.series, later.period)
    if (place >= 0).all():
        value = told.value.copy()
        value[place] = later.value  # numpy keeps the last of several
        return LongValues(told.series, told.period, value)
    both = concatenate(told, later)
    both = both.take(np.lexsort((both.period, both.series)))  # stable: the last word stays last
    last = np.ones(len(both), bool)
    last[:-1] = (both.series[1:] != both.series[:-1]) | (both.period[1:] != both.period[:-1])
    return both.take(last)
