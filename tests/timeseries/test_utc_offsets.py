"""The distances of a zone from UTC that are stored are those of its clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.timeseries.utc_offsets import utc_offsets

HOUR = timedelta(hours=1)


def test_the_clocks_of_amsterdam_change_twice_in_2026() -> None:
    of_2026 = [offset for offset in utc_offsets("Europe/Amsterdam") if str(offset.starts_at).startswith("2026")]

    assert [(str(offset.starts_at)[:16], str(offset.local_starts_at)[:16], offset.seconds) for offset in of_2026] == [
        ("2026-03-29T01:00", "2026-03-29T03:00", 7200),
        ("2026-10-25T01:00", "2026-10-25T02:00", 3600),
    ]


def test_a_zone_without_changes_has_one_distance() -> None:
    (offset,) = utc_offsets("Etc/GMT-3")

    assert (str(offset.starts_at)[:10], offset.seconds) == ("0001-01-01", 3 * 3600)


@pytest.mark.parametrize(
    "zone", ["Europe/Amsterdam", "America/New_York", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"]
)
def test_every_hour_of_thirty_years_has_the_distance_that_its_clock_shows(zone: str) -> None:
    offsets = utc_offsets(zone)
    first = datetime(2000, 1, 1, tzinfo=UTC)
    hours = [first + n * HOUR for n in range(0, 30 * 366 * 24, 7)]
    starts = np.array([offset.starts_at for offset in offsets])

    positions = np.searchsorted(starts, np.array([hour.replace(tzinfo=None) for hour in hours], "M8[us]"), "right") - 1

    clock = ZoneInfo(zone)
    shown = [hour.astimezone(clock).utcoffset() for hour in hours]
    expected = [int(distance.total_seconds()) for distance in shown if distance is not None]
    assert [offsets[position].seconds for position in positions.tolist()] == expected
