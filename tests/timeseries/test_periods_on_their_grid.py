"""Frequencies and sessions: which periods are on the recipe's grid, and in which words others are refused."""

from __future__ import annotations

import pytest

from tests.support.deliveries import delivery_of, ingest_delivery, recipe_of, refusal

GRIDS = [
    ("W-SUN", ["2024-01-07", "2024-01-14", "2024-01-21"], "2024-01-08"),
    ("W-MON", ["2024-01-01", "2024-01-08", "2024-01-15"], "2024-01-07"),
    ("2W-SUN", ["2024-01-07", "2024-01-21", "2024-02-04"], "2024-01-14"),
    ("ME", ["2024-01-31", "2024-02-29", "2024-03-31"], "2024-03-30"),
    ("MS", ["2024-01-01", "2024-02-01", "2024-03-01"], "2024-03-31"),
    ("QS", ["2024-01-01", "2024-04-01", "2024-07-01"], "2024-02-01"),
    ("QS-FEB", ["2024-02-01", "2024-05-01", "2024-08-01"], "2024-01-01"),
    ("QE", ["2024-03-31", "2024-06-30", "2024-09-30"], "2024-07-01"),
    ("YS", ["2022-01-01", "2023-01-01", "2024-01-01"], "2023-07-01"),
    ("B", ["2024-01-04", "2024-01-05", "2024-01-08"], "2024-01-06"),
    ("D", ["2024-02-28", "2024-02-29", "2024-03-01"], None),
    ("2D", ["2024-02-28", "2024-03-01", "2024-03-03"], "2024-02-29"),
    ("7D", ["2024-02-28", "2024-03-06", "2024-03-13"], "2024-02-29"),
    ("h", ["2024-01-01 22:00", "2024-01-01 23:00", "2024-01-02 00:00"], "2024-01-01 22:30"),
    ("6h", ["2024-01-01 03:00", "2024-01-01 09:00", "2024-01-01 15:00"], "2024-01-01 06:00"),
    ("15min", ["2024-01-01 23:45", "2024-01-02 00:00", "2024-01-02 00:15"], "2024-01-02 00:10"),
    ("min", ["2024-01-01 23:59", "2024-01-02 00:00", "2024-01-02 00:01"], None),
]


@pytest.mark.parametrize(("frequency", "periods", "off"), GRIDS, ids=[grid[0] for grid in GRIDS])
def test_periods_of_a_frequency_follow_one_another(frequency: str, periods: list[str], off: str | None) -> None:
    recipe = recipe_of(frequency=frequency)

    ingested = ingest_delivery(delivery_of([(period, "1") for period in periods]), recipe)

    assert [period.replace("T", " ")[: len(periods[0])] for period in ingested.periods] == periods


@pytest.mark.parametrize(("frequency", "periods", "off"), [grid for grid in GRIDS if grid[2]])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_period_beside_its_frequency_is_refused_wherever_it_stands(
    frequency: str, periods: list[str], off: str, place: int
) -> None:
    rows = [(period, "1") for period in periods]
    rows.insert(place, (off, "9"))

    error = refusal(delivery_of(rows), recipe_of(frequency=frequency))

    shown = off.replace(" ", "T").removesuffix("T00:00")
    assert str(error) == (
        f'small.csv line {place + 2}, column month: "{shown}" is not on the frequency "{frequency}"; '
        "1 of 4 rows rejected, at most 0 % allowed; nothing was ingested"
    )


SESSIONS = [
    ("XNYS", ["2024-01-12", "2024-01-16", "2024-01-17"], "2024-01-15"),  # Martin Luther King
    ("XNYS", ["2024-11-27", "2024-11-29", "2024-12-02"], "2024-11-28"),  # Thanksgiving
    ("XAMS", ["2024-03-28", "2024-04-02", "2024-04-03"], "2024-04-01"),  # Easter Monday
    ("XAMS", ["2024-11-27", "2024-11-28", "2024-11-29"], "2024-11-30"),  # a Saturday
]


@pytest.mark.parametrize("frequency", ["B", "D"])
@pytest.mark.parametrize(("calendar", "periods", "off"), SESSIONS)
def test_sessions_leave_weekends_and_holidays_out(frequency: str, calendar: str, periods: list[str], off: str) -> None:
    recipe = recipe_of(top=f'calendar = "{calendar}"', frequency=frequency)

    assert len(ingest_delivery(delivery_of([(period, "1") for period in periods]), recipe).new) == 3
    error = refusal(delivery_of([(period, "1") for period in [*periods, off]]), recipe)
    assert f'line 5, column month: "{off}" is not a session of {calendar}; 1 of 4 rows rejected' in str(error)


def test_a_session_without_a_value_is_a_gap() -> None:
    rows = [(day, "1") for day in ("2024-01-12", "2024-01-17")]

    assert "1 period between its first and its last: 2024-01-16;" in str(
        refusal(delivery_of(rows), recipe_of(top='calendar = "XNYS"', frequency="B"))
    )


def test_all_periods_may_be_the_same_minutes_past_the_hour() -> None:
    rows = [(f"2024-01-01 {hour:02d}:30", "1") for hour in range(5)]

    assert len(ingest_delivery(delivery_of(rows), recipe_of(frequency="h")).new) == 5


def test_days_may_have_the_time_of_their_close() -> None:
    rows = [(f"2024-01-{day:02d} 16:00", "1") for day in range(1, 6)]

    assert len(ingest_delivery(delivery_of(rows), recipe_of(frequency="D")).new) == 5
    error = refusal(delivery_of([*rows, ("2024-01-06 17:00", "1")]), recipe_of(frequency="D"))
    assert 'line 7, column month: "2024-01-06T17:00" is not on the frequency "D"' in str(error)


@pytest.mark.parametrize("period", ["2024-01-01 00:00:30", "2024-01-01 00:00:00.5"])
def test_seconds_are_not_cut_off(period: str) -> None:
    rows = [(f"2024-01-01 {hour:02d}:00:00", "1") for hour in range(5)]

    error = refusal(delivery_of([*rows, (period, "1")]), recipe_of(frequency="h"))

    assert 'is not on the frequency "h"' in str(error)
    assert f'"{period.replace(" ", "T")}' in str(error)
