"""Steps of time: what comes after a period, between two, and what is no period at all."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InvalidRecipe
from pipeline.timeseries.frequency import Frequency, Periods

NEW_YORK = Frequency("B", "XNYS")


def periods(*days: str) -> Periods:
    return np.array(days, dtype="datetime64[us]")


def period(day: str) -> np.datetime64:
    return np.datetime64(day, "us")


@pytest.mark.parametrize(
    ("alias", "origin", "following"),
    [
        ("MS", "2019-12-01", ("2020-01-01", "2020-02-01", "2020-03-01")),
        ("ME", "2019-12-31", ("2020-01-31", "2020-02-29", "2020-03-31")),
        ("ME", "2021-01-31", ("2021-02-28", "2021-03-31", "2021-04-30")),
        ("QS", "2020-10-01", ("2021-01-01", "2021-04-01", "2021-07-01")),
        ("YS", "2020-01-01", ("2021-01-01", "2022-01-01", "2023-01-01")),
        ("W-SUN", "2020-02-23", ("2020-03-01", "2020-03-08", "2020-03-15")),
        ("W-WED", "2019-12-25", ("2020-01-01", "2020-01-08", "2020-01-15")),
        ("D", "2020-02-28", ("2020-02-29", "2020-03-01", "2020-03-02")),
        ("B", "2020-01-03", ("2020-01-06", "2020-01-07", "2020-01-08")),
        ("h", "2020-02-28T23", ("2020-02-29T00", "2020-02-29T01", "2020-02-29T02")),
        ("15min", "2020-12-31T23:45", ("2021-01-01T00:00", "2021-01-01T00:15", "2021-01-01T00:30")),
        ("2MS", "2019-11-01", ("2020-01-01", "2020-03-01", "2020-05-01")),
    ],
)
def test_the_steps_after_an_origin_begin_with_the_next_period(
    alias: str, origin: str, following: tuple[str, ...]
) -> None:
    np.testing.assert_array_equal(Frequency(alias).after(period(origin), 3), periods(*following))


@pytest.mark.parametrize(
    ("origin", "following"),
    [
        ("2019-12-27", "2019-12-30"),
        ("2019-12-31", "2020-01-02"),
        ("2020-01-17", "2020-01-21"),
        ("2020-04-09", "2020-04-13"),
        ("2001-09-10", "2001-09-17"),
    ],
)
def test_the_period_after_a_session_is_the_next_session(origin: str, following: str) -> None:
    assert NEW_YORK.after(period(origin), 1) == periods(following)


def test_sessions_continue_over_more_years_than_were_first_looked_at() -> None:
    following = NEW_YORK.after(period("2019-12-31"), 600)

    assert len(following) == 600
    np.testing.assert_array_equal(following, NEW_YORK.between(period("2020-01-01"), following[-1]))


def test_an_origin_off_the_grid_is_followed_by_the_next_period_on_it() -> None:
    assert Frequency("MS").after(period("2020-01-15"), 1) == periods("2020-02-01")
    assert Frequency("B").after(period("2020-01-04"), 1) == periods("2020-01-06")
    assert NEW_YORK.after(period("2020-01-18"), 1) == periods("2020-01-21")


def test_no_steps_are_no_periods() -> None:
    assert len(Frequency("MS").after(period("2020-01-01"), 0)) == 0
    assert len(NEW_YORK.after(period("2020-01-02"), 0)) == 0


def test_both_ends_lie_between() -> None:
    np.testing.assert_array_equal(
        Frequency("MS").between(period("2019-12-01"), period("2020-02-01")),
        periods("2019-12-01", "2020-01-01", "2020-02-01"),
    )
    np.testing.assert_array_equal(
        NEW_YORK.between(period("2019-12-31"), period("2020-01-03")),
        periods("2019-12-31", "2020-01-02", "2020-01-03"),
    )


@pytest.mark.parametrize(
    ("frequency", "start", "steps"),
    [
        (Frequency("h"), "2020-02-28T20", 10),
        (Frequency("ME"), "2019-11-30", 14),
        (Frequency("W-SUN"), "2020-01-05", 60),
        (NEW_YORK, "2020-11-02", 60),
    ],
)
def test_one_step_at_a_time_gives_the_same_as_all_at_once(frequency: Frequency, start: str, steps: int) -> None:
    walked, here = [], period(start)
    for _ in range(steps):
        here = frequency.after(here, 1)[0]
        walked.append(here)

    np.testing.assert_array_equal(frequency.after(period(start), steps), np.array(walked))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    alias=st.sampled_from(["MS", "ME", "QS", "W-SUN", "W-WED", "D", "B", "h"]),
    origin=st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(2090, 1, 1)),
    steps=st.integers(1, 40),
)
def test_what_follows_is_all_that_lies_between(alias: str, origin: datetime, steps: int) -> None:
    frequency = Frequency(alias)
    hour = np.datetime64(origin, "h").astype("datetime64[us]")
    grid = frequency.after(hour, 1)[0]

    following = frequency.after(grid, steps)

    assert following.dtype == np.dtype("datetime64[us]")
    assert len(following) == steps
    np.testing.assert_array_equal(frequency.between(grid, following[-1])[1:], following)
    assert frequency.on_grid(following).all()


def test_days_off_the_grid_are_told_from_days_on_it() -> None:
    assert Frequency("MS").on_grid(periods("2020-01-01", "2020-01-02", "2020-02-01")).tolist() == [
        True,
        False,
        True,
    ]
    assert Frequency("ME").on_grid(periods("2020-01-31", "2020-02-28", "2020-02-29")).tolist() == [
        True,
        False,
        True,
    ]
    assert Frequency("W-SUN").on_grid(periods("2020-01-05", "2020-01-06")).tolist() == [True, False]
    assert Frequency("h").on_grid(periods("2020-01-01T00", "2020-01-01T00:30")).tolist() == [True, False]


def test_weekends_and_holidays_are_no_sessions() -> None:
    days = periods("2020-01-17", "2020-01-18", "2020-01-19", "2020-01-20", "2020-01-21")

    assert NEW_YORK.on_grid(days).tolist() == [True, False, False, False, True]


def test_a_single_day_off_the_grid_is_off_it() -> None:
    assert Frequency("MS").on_grid(periods("2020-01-02")).tolist() == [False]
    assert NEW_YORK.on_grid(periods("2020-01-20")).tolist() == [False]


def test_no_periods_are_neither_on_nor_off_the_grid() -> None:
    assert Frequency("MS").on_grid(periods()).tolist() == []


@pytest.mark.parametrize(
    ("alias", "steps"),
    [
        ("MS", 12),
        ("ME", 12),
        ("QS-OCT", 4),
        ("W-SUN", 52),
        ("D", 7),
        ("B", 5),
        ("h", 24),
        ("min", 60),
        ("2MS", 6),
        ("2D", 1),
    ],
)
def test_a_season_has_its_usual_length_and_one_step_where_none_is_usual(alias: str, steps: int) -> None:
    assert Frequency(alias).season_length == steps


@pytest.mark.parametrize("alias", ["XX", "", "monthly"])
def test_an_unknown_alias_is_refused(alias: str) -> None:
    with pytest.raises(InvalidRecipe, match=f'frequency "{alias}" is not known.*MS, D, B or h'):
        Frequency(alias)


def test_an_unknown_calendar_is_refused_with_known_ones_like_it() -> None:
    with pytest.raises(InvalidRecipe, match='calendar "XNYC" is not known.*XNYS'):
        Frequency("B", "XNYC")
    with pytest.raises(InvalidRecipe, match='calendar "nowhere" is not known.*XNYS, XLON, XAMS'):
        Frequency("B", "nowhere")


@pytest.mark.parametrize("alias", ["-1D", "0D", "-1MS"])
def test_time_does_not_stand_still_or_run_backwards(alias: str) -> None:
    with pytest.raises(InvalidRecipe, match=f'frequency "{alias}" is not known'):
        Frequency(alias)


def test_a_calendar_that_ends_soon_gives_the_sessions_it_knows() -> None:
    bombay = Frequency("B", "XBOM")

    assert bombay.after(np.datetime64("2025-03-13", "us"), 1).tolist() == periods("2025-03-17").tolist()
    with pytest.raises(InvalidRecipe, match="calendar XBOM knows .* sessions after .*: shorten horizon"):
        bombay.after(np.datetime64("2026-11-20", "us"), 2000)


def test_a_calendar_that_begins_late_gives_the_sessions_it_knows() -> None:
    tokyo = Frequency("B", "XTKS")

    assert len(tokyo.between(np.datetime64("1990-01-01", "us"), np.datetime64("1997-01-31", "us"))) > 0


@pytest.mark.parametrize(
    ("alias", "origin", "end"),
    [
        ("MS", "2025-12-01", "2026-02-01"),
        ("ME", "2025-12-31", "2026-02-01"),
        ("QS", "2025-10-01", "2026-04-01"),
        ("QE", "2025-12-31", "2026-04-01"),
        ("W-MON", "2026-01-05", "2026-01-19"),
        ("W-SUN", "2026-01-11", "2026-01-19"),
        ("D", "2026-01-05", "2026-01-07"),
        ("h", "2026-01-05T03", "2026-01-05T05"),
    ],
)
def test_the_period_after_an_origin_ends_at_one_instant_whichever_day_names_it(
    alias: str, origin: str, end: str
) -> None:
    assert Frequency(alias).end_after(period(origin), 1) == period(end)
