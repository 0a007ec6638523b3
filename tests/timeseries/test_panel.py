"""A panel: series of different lengths on one grid, and what it was at an earlier period."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel, panel_from_observations

NAN = float("nan")
DAILY = Frequency("D")
START = np.datetime64("2020-01-01", "us")


def daily_panel(**rows: list[float]) -> Panel:
    """One row a series, from 2020-01-01 on; NaN is nothing observed."""
    value = np.array([value for row in rows.values() for value in row])
    series = np.repeat(np.arange(len(rows)), [len(row) for row in rows.values()])
    day = np.concatenate([np.arange(len(row)) for row in rows.values()])
    return panel_from_observations(list(rows), series, START + day * np.timedelta64(1, "D"), value, frequency=DAILY)


def assert_same(one: Panel, other: Panel) -> None:
    assert one.series == other.series
    for name in ("grid", "first", "offsets", "values"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_each_series_holds_its_values_from_its_first_period_on() -> None:
    panel = daily_panel(a=[1, 2, 3, NAN], b=[NAN, 5, 6, 7])

    assert panel.series == ("a", "b")
    assert panel.series_values(0).tolist() == [1, 2, 3]
    assert panel.series_values(1).tolist() == [5, 6, 7]
    assert panel.first.tolist() == [0, 1]
    assert panel.last.tolist() == [2, 3]
    assert panel.lengths.tolist() == [3, 3]
    assert panel.offsets.tolist() == [0, 3, 6]


def test_the_grid_spans_all_series_and_ends_at_the_origin() -> None:
    panel = daily_panel(a=[1, NAN, NAN, NAN], b=[NAN, NAN, 5, 6])

    assert len(panel.grid) == 4
    assert panel.grid[0] == START
    assert panel.origin == np.datetime64("2020-01-04", "us")


def test_gaps_inside_a_series_are_nan_and_outside_there_are_none() -> None:
    panel = daily_panel(a=[NAN, 1, NAN, 3, NAN])

    np.testing.assert_array_equal(panel.series_values(0), [1, NAN, 3])
    assert len(panel.grid) == 3


def test_periods_that_were_not_told_are_gaps() -> None:
    days = np.array(["2020-01-01", "2020-01-04"], dtype="datetime64[us]")

    panel = panel_from_observations(["a"], np.array([0, 0]), days, np.array([1.0, 4.0]), frequency=DAILY)

    np.testing.assert_array_equal(panel.series_values(0), [1, NAN, NAN, 4])


def test_a_holiday_is_no_gap() -> None:
    days = np.array(["2020-01-17", "2020-01-21"], dtype="datetime64[us]")
    sessions = Frequency("B", "XNYS")

    panel = panel_from_observations(["a"], np.array([0, 0]), days, np.array([1.0, 2.0]), frequency=sessions)

    assert panel.series_values(0).tolist() == [1, 2]


def test_a_series_of_which_nothing_is_observed_is_left_out() -> None:
    panel = daily_panel(a=[NAN, NAN], b=[1, 2], c=[NAN, 3])

    assert panel.series == ("b", "c")
    assert panel.series_values(1).tolist() == [3]


def test_a_panel_of_no_observations_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one observation"):
        daily_panel(a=[NAN])


def test_observations_may_come_in_any_order() -> None:
    periods = np.array(["2020-01-01", "2020-02-01", "2020-03-01", "2020-02-01"], "datetime64[us]")
    series, value = np.array([0, 0, 0, 1]), np.array([1.0, 2.0, 3.0, 4.0])
    ascending = panel_from_observations(["a", "b"], series, periods, value, frequency=Frequency("MS"))

    for order in itertools.permutations(range(4)):
        rows = list(order)
        panel = panel_from_observations(["a", "b"], series[rows], periods[rows], value[rows], frequency=Frequency("MS"))
        assert panel.data_hash == ascending.data_hash


def test_two_values_for_one_period_are_refused_by_name() -> None:
    periods = np.array(["2020-02-01", "2020-01-01", "2020-01-01"], "datetime64[us]")

    with pytest.raises(ValueError, match='series "a" has two values for 2020-01-01: expected one value a period'):
        panel_from_observations(["a"], np.zeros(3, int), periods, np.arange(3.0), frequency=Frequency("MS"))


def test_the_state_of_knowledge_stays_with_the_panel() -> None:
    as_of = datetime(2020, 2, 1, tzinfo=UTC)
    days = np.array([START, START + np.timedelta64(1, "D")])

    panel = panel_from_observations(["a"], np.zeros(2, np.int64), days, np.ones(2), frequency=DAILY, as_of=as_of)

    assert panel.as_of == as_of
    assert panel.until(0).as_of == as_of


def test_a_panel_until_a_period_ends_there() -> None:
    panel = daily_panel(a=[1, 2, 3, 4], b=[NAN, 5, 6, 7]).until(1)

    assert panel.series_values(0).tolist() == [1, 2]
    assert panel.series_values(1).tolist() == [5]
    assert panel.origin == np.datetime64("2020-01-02", "us")


def test_series_that_start_later_are_left_out() -> None:
    assert daily_panel(a=[1, 2, 3], b=[NAN, NAN, 5]).until(1).series == ("a",)


def test_series_that_ended_earlier_stay_whole() -> None:
    panel = daily_panel(a=[1, 2, NAN, NAN], b=[3, 4, 5, 6]).until(2)

    assert panel.series_values(0).tolist() == [1, 2]
    assert panel.series_values(1).tolist() == [3, 4, 5]


def test_a_gap_at_the_new_end_is_dropped() -> None:
    assert daily_panel(a=[1, NAN, NAN, 4]).until(2).series_values(0).tolist() == [1]


def test_until_the_newest_period_is_the_same_panel() -> None:
    panel = daily_panel(a=[1, NAN, 3], b=[NAN, 5, NAN])

    assert_same(panel.until(len(panel.grid) - 1), panel)


def test_until_does_not_change_when_the_future_does() -> None:
    panel = daily_panel(a=[1, 2, 3, 4], b=[NAN, 5, 6, NAN])
    another_future = daily_panel(a=[1, 2, -300, NAN], b=[NAN, 5, NAN, 1e9], c=[NAN, NAN, 8, 9])

    assert_same(panel.until(1), another_future.until(1))
    assert panel.until(1).data_hash == another_future.until(1).data_hash


rows = st.lists(st.one_of(st.just(NAN), st.integers(-9, 9).map(float)), min_size=6, max_size=6)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, position=st.integers(0, 5))
def test_until_equals_a_panel_made_of_the_observations_until_then(
    a: list[float], b: list[float], position: int
) -> None:
    a[0] = 1.0

    early = daily_panel(a=a, b=b).until(min(position, len(daily_panel(a=a, b=b).grid) - 1))

    expected = daily_panel(a=a[: position + 1], b=b[: position + 1])
    assert early.series == expected.series
    for s in range(len(early.series)):
        np.testing.assert_array_equal(early.series_values(s), expected.series_values(s))
        assert early.grid[early.first[s]] == expected.grid[expected.first[s]]


def test_a_panel_since_a_period_begins_there() -> None:
    panel = daily_panel(a=[1, 2, 3, 4], b=[NAN, NAN, NAN, 7], c=[8, 9, NAN, NAN]).since(2)

    assert panel.series == ("a", "b")
    assert [panel.series_values(s).tolist() for s in range(2)] == [[3, 4], [7]]
    assert (panel.first.tolist(), panel.grid[0], len(panel.grid)) == ([0, 1], np.datetime64("2020-01-03", "us"), 2)


def test_a_gap_at_the_new_beginning_is_dropped() -> None:
    panel = daily_panel(a=[1, NAN, NAN, 4, 5], b=[1, 2, 3, 4, 5]).since(1)

    assert (panel.series_values(0).tolist(), panel.first.tolist()) == ([4, 5], [2, 0])


def test_since_the_first_period_is_the_same_panel() -> None:
    panel = daily_panel(a=[1, NAN, 3], b=[NAN, 5, NAN])

    assert_same(panel.since(0), panel)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, position=st.integers(0, 5))
def test_since_equals_a_panel_made_of_the_observations_from_then_on(
    a: list[float], b: list[float], position: int
) -> None:
    a[0], a[5] = 1.0, 6.0

    late = daily_panel(a=a, b=b).since(position)

    expected = daily_panel(a=[NAN] * position + a[position:], b=[NAN] * position + b[position:])
    assert late.series == expected.series
    for s in range(len(late.series)):
        np.testing.assert_array_equal(late.series_values(s), expected.series_values(s))
        assert late.grid[late.first[s]] == expected.grid[expected.first[s]]


def test_covariates_begin_with_their_series() -> None:
    """Each is ten times the value, and of the period after the last one 100 more."""
    panel = daily_panel(a=[1, 2, 3, 4], b=[5, NAN, 6, 7], c=[8, 9, NAN, NAN])
    values = np.where(np.isnan(panel.values), -1.0, panel.values)
    ahead = [10 * values[panel.offsets[s] : panel.offsets[s + 1]] for s in range(3)]
    known_ahead = np.concatenate([[*each, each[-1] + 100] for each in ahead])
    told = replace(panel, past={"p": 10 * values}, future={"f": known_ahead}, ahead=1, static={"s": ("x", "y", "z")})

    late = told.since(1)

    assert late.series == ("a", "b", "c")
    assert late.past["p"].tolist() == [20, 30, 40, 60, 70, 90]
    assert late.future["f"].tolist() == [20, 30, 40, 140, 60, 70, 170, 90, 190]
    assert told.since(2).static == {"s": ("x", "y")}


def test_the_same_observations_give_the_same_hash() -> None:
    assert daily_panel(a=[1, NAN, 3]).data_hash == daily_panel(a=[1, NAN, 3]).data_hash


@pytest.mark.parametrize(
    "other",
    [
        {"a": [1, 2, 4]},
        {"b": [1, 2, 3]},
        {"a": [1, NAN, 3]},
        {"a": [1, 2, 3, 4]},
        {"a": [1, 2, 3], "b": [1, 2, 3]},
    ],
    ids=["a value", "a name", "a gap", "a period", "a series"],
)
def test_any_change_of_the_observations_changes_the_hash(other: dict[str, list[float]]) -> None:
    assert daily_panel(a=[1, 2, 3]).data_hash != daily_panel(**other).data_hash


def test_a_shift_in_time_changes_the_hash() -> None:
    def starting(day: str) -> Panel:
        days = np.array([day], dtype="datetime64[us]")
        return panel_from_observations(["a"], np.array([0]), days, np.array([1.0]), frequency=DAILY)

    assert starting("2020-01-01").data_hash != starting("2020-01-02").data_hash
