"""Convert local times to UTC and back, and explain local times that the clocks skip or repeat."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from pipeline.timeseries.frequency import Periods

#: the first and the last moment that Python's calendar can represent
FIRST_MOMENT, LAST_MOMENT = np.datetime64("0001-01-01", "us"), np.datetime64("9999-12-31T23:59:59.999999", "us")

#: zones that are suggested for offsets from UTC, in minutes in winter and in summer
_ZONES = {
    (60, 120): "Europe/Paris",
    (0, 60): "Europe/London",
    (120, 180): "Europe/Athens",
    (-300, -240): "America/New_York",
    (-360, -300): "America/Chicago",
    (-420, -360): "America/Denver",
    (-480, -420): "America/Los_Angeles",
    (600, 660): "Australia/Sydney",
    (720, 780): "Pacific/Auckland",
    (180,): "Europe/Istanbul",
    (240,): "Asia/Dubai",
    (300,): "Asia/Karachi",
    (330,): "Asia/Kolkata",
    (420,): "Asia/Bangkok",
    (480,): "Asia/Shanghai",
    (540,): "Asia/Tokyo",
    (-180,): "America/Sao_Paulo",
}

_DAY = np.timedelta64(1, "D")


def local_to_utc(local: Periods, zone: ZoneInfo) -> tuple[Periods, Periods]:
    """Return the first and the second instant that each local time can mean, in UTC.

    Both are equal unless the clocks repeat the time. Both are NaT where the clocks skip the time, and where UTC
    would be outside the calendar (years 1 to 9999).
    """
    return _localize(local, zone, is_first=True), _localize(local, zone, is_first=False)


def utc_to_local(instants: Periods, zone: ZoneInfo) -> Periods:
    """Return the local times of UTC instants; NaT outside the calendar."""
    inner = _clip_to_calendar(instants)
    local = pd.DatetimeIndex(inner).tz_localize("UTC").tz_convert(zone).tz_localize(None).to_numpy()
    return drop_outside_calendar(local + (instants - inner))


def explain_unclear_time(local: datetime, zone: ZoneInfo, expected: str) -> str:
    """Say why a local time is not one instant: the clocks skip or repeat it, or UTC would be outside the calendar.

    Args:
        local: a time for which `local_to_utc` returns NaT or two instants.
        zone: where it is local.
        expected: what would have decided a repeated time.
    """
    try:
        candidates = [local - _offset(local, zone, fold) for fold in (0, 1)]
    except OverflowError:
        return f"is outside the years 1 to 9999 when {zone.key} is converted to UTC"
    listed = " or ".join(f"{instant.isoformat(timespec='minutes')}Z" for instant in sorted(candidates))
    first, _ = local_to_utc(np.array([local], "datetime64[us]"), zone)
    if np.isnat(first[0]):
        return f"does not exist in {zone.key}, whose clocks skip it: {listed}?"
    return f"happens twice in {zone.key}: {listed}? expected {expected}"


def suggest_zone(offsets: Iterable[int]) -> str:
    """Return a zone that has all these offsets from UTC, in minutes, as an example."""
    wanted = set(offsets)
    return next((name for pair, name in _ZONES.items() if wanted <= set(pair)), "Europe/Paris")


def drop_outside_calendar(moments: Periods) -> Periods:
    """Return the moments, NaT where they are outside the years 1 to 9999."""
    outside = (moments < FIRST_MOMENT) | (moments > LAST_MOMENT)
    return np.where(outside, np.datetime64("NaT", "us"), moments) if outside.any() else moments


def _localize(local: Periods, zone: ZoneInfo, *, is_first: bool) -> Periods:
    inner = _clip_to_calendar(local)
    index = pd.DatetimeIndex(inner).tz_localize(zone, ambiguous=np.full(len(inner), is_first), nonexistent="NaT")
    return drop_outside_calendar(index.tz_convert(None).to_numpy() + (local - inner))


def _clip_to_calendar(moments: Periods) -> Periods:
    """Move the first and the last day of the calendar one day inwards: there pandas cannot convert zones.

    No zone changes its clocks on these days, so the offset from UTC is the same.
    """
    return np.clip(moments, FIRST_MOMENT + _DAY, LAST_MOMENT - _DAY)


def _offset(local: datetime, zone: ZoneInfo, fold: int) -> timedelta:
    offset = local.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset
