"""Find periods that lie far before all others: a mistyped year is a fault of its row, not a gap of a century."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Periods
from pipeline.timeseries.long_values import LongValues

#: so many of the first periods may be stray
MAX_STRAY = 2
#: fewer values say nothing about where a series lies
MIN_OTHERS = 8


def count_stray(periods: Periods) -> int:
    """Return how many of the first periods are further from the rest than the rest is long.

    Args:
        periods: ascending, each once.
    """
    values = LongValues(np.zeros(len(periods), np.int64), periods, np.zeros(len(periods)))
    return int(find_stray(values).sum())


def find_stray(values: LongValues) -> npt.NDArray[np.bool_]:
    """Return which values are so far before all others of their series that the others span less time: [n]."""
    is_stray = np.zeros(len(values), bool)
    if len(values) == 0:
        return is_stray
    starts, period = values.starts(), values.period
    first, length, last = starts[:-1], np.diff(starts), period[starts[1:] - 1]  # [S]
    counts = np.zeros(len(first), np.int64)  # [S]
    for count in range(1, MAX_STRAY + 1):
        at = np.minimum(first + count, len(values) - 1)
        is_far = (length >= count + MIN_OTHERS) & (period[at] - period[at - 1] > last - period[at])
        counts[is_far] = count
    for s in np.flatnonzero(counts).tolist():
        is_stray[first[s] : first[s] + counts[s]] = True
    return is_stray
