"""Days are written as days, hours in the zone of the recipe, and the two hours of a clock change apart."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.timeseries.period_labels import PeriodLabels


def hours(start: str, count: int, minutes: int = 60) -> list[np.datetime64]:
    return list(np.datetime64(start, "us") + np.arange(count) * np.timedelta64(minutes, "m"))


def test_days_stay_days_whatever_the_zone() -> None:
    labels = PeriodLabels(is_within_day=False, zone="America/Los_Angeles")

    assert labels.heading == "period"
    assert labels.texts(hours("2026-11-01", 2, 24 * 60)) == ["2026-11-01", "2026-11-02"]
    assert labels.text(np.datetime64("2026-11-01", "us")) == "2026-11-01"


def test_hours_without_a_zone_are_said_to_be_utc() -> None:
    labels = PeriodLabels(is_within_day=True)

    assert labels.heading == "period (UTC)"
    assert labels.texts(hours("2026-11-01T23:00", 2)) == ["2026-11-01 23:00", "2026-11-02 00:00"]
    assert labels.text(np.datetime64("2026-11-02", "us")) == "2026-11-02 00:00 (UTC)"


def test_hours_are_written_in_the_zone_of_the_recipe() -> None:
    labels = PeriodLabels(is_within_day=True, zone="Asia/Kolkata")

    assert labels.heading == "period (Asia/Kolkata)"
    assert labels.texts(hours("2026-11-01T23:00", 2)) == ["2026-11-02 04:30", "2026-11-02 05:30"]


@pytest.mark.parametrize(
    ("zone", "start", "texts"),
    [
        (
            "America/Los_Angeles",
            "2026-11-01T07:00",
            [
                "2026-11-01 00:00-07:00",
                "2026-11-01 01:00-07:00",
                "2026-11-01 01:00-08:00",
                "2026-11-01 02:00-08:00",
            ],
        ),
        (
            "Europe/Amsterdam",
            "2026-10-25T00:00",
            [
                "2026-10-25 02:00+02:00",
                "2026-10-25 02:00+01:00",
                "2026-10-25 03:00+01:00",
                "2026-10-25 04:00+01:00",
            ],
        ),
        (
            "Europe/Amsterdam",
            "2026-03-29T00:00",
            [
                "2026-03-29 01:00+01:00",
                "2026-03-29 03:00+02:00",
                "2026-03-29 04:00+02:00",
                "2026-03-29 05:00+02:00",
            ],
        ),
    ],
)
def test_hours_across_a_clock_change_say_their_distance_from_utc(zone: str, start: str, texts: list[str]) -> None:
    labels = PeriodLabels(is_within_day=True, zone=zone)

    assert labels.texts(hours(start, 4)) == texts
    assert len(set(texts)) == 4


def test_half_hours_of_a_change_by_half_an_hour_are_told_apart() -> None:
    labels = PeriodLabels(is_within_day=True, zone="Australia/Lord_Howe")

    texts = labels.texts(hours("2026-04-04T14:00", 4, 30))

    assert texts == [
        "2026-04-05 01:00+11:00",
        "2026-04-05 01:30+11:00",
        "2026-04-05 01:30+10:30",
        "2026-04-05 02:00+10:30",
    ]


def test_one_hour_that_is_repeated_says_which_it_is() -> None:
    labels = PeriodLabels(is_within_day=True, zone="America/Los_Angeles")

    assert labels.text(np.datetime64("2026-11-01T08:00", "us")) == "2026-11-01 01:00-07:00 (America/Los_Angeles)"
    assert labels.text(np.datetime64("2026-11-01T09:00", "us")) == "2026-11-01 01:00-08:00 (America/Los_Angeles)"
    assert labels.text(np.datetime64("2026-11-01T11:00", "us")) == "2026-11-01 03:00 (America/Los_Angeles)"


def test_seconds_are_written_where_there_are_some() -> None:
    labels = PeriodLabels(is_within_day=True)

    assert labels.texts([np.datetime64("2026-11-01T01:00:15", "us")]) == ["2026-11-01 01:00:15"]
