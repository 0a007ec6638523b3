"""The distances of a zone's clocks from UTC over the years, for views in databases that know no zones, or other ones."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.timeseries.frequency import Periods

#: clocks are followed between these days, in steps in which they change once at most
_FIRST_DAY, _LAST_DAY = np.datetime64("1850-01-01", "us"), np.datetime64("2150-01-01", "us")
_STEP = np.timedelta64(7, "D")
#: since when the first distance counts
_BEGINNING = np.datetime64("0001-01-01", "us")


class UtcOffset(NamedTuple):
    """A distance from UTC, which counts until the next one begins."""

    #: in UTC
    starts_at: np.datetime64
    #: the first local time that belongs to it; of local times that occur twice it has the second ones
    local_starts_at: np.datetime64
    #: above 0 east of UTC
    seconds: int


@lru_cache(maxsize=16)
def utc_offsets(zone: str) -> tuple[UtcOffset, ...]:
    """Return every distance from UTC that a zone of the tz database has between 1850 and 2150, in order of time.

    The first one counts for all time before, the last one for all time after.
    """
    clock = ZoneInfo(zone)
    weeks = np.arange(_FIRST_DAY, _LAST_DAY, _STEP)
    is_changed = np.diff(_seconds(clock, weeks)) != 0
    before, after = weeks[:-1][is_changed], weeks[1:][is_changed]
    old = _seconds(clock, before)
    while (after - before > np.timedelta64(1, "s")).any():
        middle = before + (after - before) // 2
        middle = middle.astype("datetime64[s]").astype("datetime64[us]")
        is_old = _seconds(clock, middle) == old
        before, after = np.where(is_old, middle, before), np.where(is_old, after, middle)
    starts = [_BEGINNING, *after]
    seconds = [int(_seconds(clock, weeks[:1])[0]), *_seconds(clock, after).tolist()]
    local = [_BEGINNING, *(after + np.array(seconds[1:], "timedelta64[s]"))]
    return tuple(map(UtcOffset, starts, local, seconds))


def _seconds(clock: ZoneInfo, instants: Periods) -> npt.NDArray[np.int64]:
    """The distance at each of n instants in UTC: [n]."""
    utc = pd.DatetimeIndex(instants, tz="UTC")
    distances = utc.tz_convert(clock).tz_localize(None) - utc.tz_localize(None)
    return distances.to_numpy().astype("timedelta64[s]").astype(np.int64)
