"""Local times as UTC: which of them a change of the clocks skips, and which it repeats."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from pipeline.timeseries.frequency import Periods

_NAT = np.datetime64("NaT", "us")
_DAY = timedelta(days=1)


def in_utc(local: Periods, zone: ZoneInfo) -> tuple[Periods, Periods]:
    """The first and the second instant that local times can mean.

    Both are the same where there is one, and NaT where the clocks skip the time.
    """
    days, day = np.unique(local.astype("datetime64[D]"), return_inverse=True)
    offsets = np.array([_offset_of_day(one, zone) for one in days], "timedelta64[us]")
    first = local - offsets[day]
    second = first.copy()
    for row in np.flatnonzero(np.isnat(first) & ~np.isnat(local)):
        first[row], second[row] = _instants(local[row].item(), zone)
    return first, second


def in_zone(instants: Periods, zone: ZoneInfo) -> Periods:
    """The local times of instants of UTC."""
    return np.array([_local(one, zone) for one in instants], "datetime64[us]")


def why_not(local: datetime, zone: ZoneInfo, expected: str) -> str:
    """Which rule a local time breaks that is skipped or told twice, with both candidates."""
    both = [_instant(local, zone, fold) for fold in (0, 1)]
    shown = " or ".join(f"{one.isoformat(timespec='minutes')}Z" for one in sorted(both))
    if _local(np.datetime64(both[0], "us"), zone) != np.datetime64(local, "us"):
        return f"does not exist in {zone.key}, whose clocks skip it: {shown}?"
    return f"happens twice in {zone.key}: {shown}? expected {expected}"


def _offset_of_day(day: np.datetime64, zone: ZoneInfo) -> timedelta | None:
    """How far ahead of UTC the clocks are all day; None if they change, or the day is at an end of all calendars."""
    if np.isnat(day):
        return None
    midnight: datetime = day.astype("datetime64[us]").astype(object)
    try:
        offsets = _offset(midnight, zone, 0), _offset(midnight + _DAY, zone, 1)
    except OverflowError:
        return None
    return offsets[0] if offsets[0] == offsets[1] else None


def _offset(local: datetime, zone: ZoneInfo, fold: int) -> timedelta:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset


def _instants(local: datetime, zone: ZoneInfo) -> tuple[np.datetime64, np.datetime64]:
    try:
        both = [np.datetime64(_instant(local, zone, fold), "us") for fold in (0, 1)]
    except OverflowError:
        return _NAT, _NAT
    exists = _local(both[0], zone) == np.datetime64(local, "us")
    return (both[0], both[1]) if exists else (_NAT, _NAT)


def _instant(local: datetime, zone: ZoneInfo, fold: int) -> datetime:
    return local - _offset(local, zone, fold)


def _local(instant: np.datetime64, zone: ZoneInfo) -> np.datetime64:
    if np.isnat(instant):
        return _NAT
    try:
        moment: datetime = instant.astype(object).replace(tzinfo=UTC)
        return np.datetime64(moment.astimezone(zone).replace(tzinfo=None), "us")
    except OverflowError:
        return _NAT
