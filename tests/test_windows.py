"""Windows: what the network sees, what it is asked for, and that no future is in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.panel import Panel
from pipeline.windows import Windows, context_at_origin, make_windows

NAN = float("nan")


def panel_of(*rows: list[float], first: tuple[int, ...] = ()) -> Panel:
    """Series a, b, … on a daily grid; row s starts at position first[s]."""
    starts = np.array(first or [0] * len(rows))
    lengths = np.array([len(row) for row in rows])
    days = np.arange(int((starts + lengths).max()))
    return Panel(
        series=tuple("abcdefgh"[: len(rows)]),
        grid=np.datetime64("2020-01-01", "us") + days * np.timedelta64(1, "D"),
        first=starts,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        values=np.concatenate(rows).astype(float),
    )


def naive_windows(panel: Panel, context: int, horizon: int) -> list[tuple[list[float], list[float], int, int]]:
    """One at a time: context, target, series, end."""
    found = []
    for s in range(len(panel.series)):
        values = panel.of(s).tolist() + [NAN] * horizon
        for i in range(len(panel.of(s)) - context + 1):
            seen, asked = values[i : i + context], values[i + context : i + context + horizon]
            if not any(np.isnan(seen)):
                found.append((seen, asked, s, int(panel.first[s]) + i + context - 1))
    return found


def assert_same(one: Windows, other: Windows) -> None:
    for name in ("context", "target", "series", "end"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_five_values_give_four_windows_and_the_last_has_its_whole_target_ahead() -> None:
    windows = make_windows(panel_of([1, 2, 3, 4, 5]), context=2, horizon=2)

    assert windows.context.tolist() == [[1, 2], [2, 3], [3, 4], [4, 5]]
    np.testing.assert_array_equal(windows.target, [[3, 4], [4, 5], [5, NAN], [NAN, NAN]])
    assert windows.end.tolist() == [1, 2, 3, 4]
    assert len(windows) == 4


def test_positions_count_from_the_start_of_the_grid_not_of_the_series() -> None:
    windows = make_windows(panel_of([1, 2, 3, 4], [7, 8], first=(0, 2)), context=2, horizon=1)

    assert windows.series.tolist() == [0, 0, 0, 1]
    assert windows.end.tolist() == [1, 2, 3, 3]


def test_a_gap_is_in_no_context_but_may_be_in_a_target() -> None:
    windows = make_windows(panel_of([1, 2, NAN, 4, 5]), context=2, horizon=1)

    assert windows.context.tolist() == [[1, 2], [4, 5]]
    assert np.isnan(windows.target[0, 0])


def test_a_series_shorter_than_the_context_has_no_window() -> None:
    assert make_windows(panel_of([1, 2, 3], [4, 5]), context=3, horizon=1).series.tolist() == [0]


def test_no_window_at_all_keeps_the_shapes() -> None:
    windows = make_windows(panel_of([1, 2]), context=3, horizon=2)

    assert len(windows) == 0
    assert windows.context.shape == (0, 3)
    assert windows.target.shape == (0, 2)


rows = st.lists(st.one_of(st.just(NAN), st.integers(0, 9).map(float)), min_size=1, max_size=9)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, late=st.integers(0, 4), context=st.integers(1, 4), horizon=st.integers(1, 4))
def test_windows_equal_a_loop(a: list[float], b: list[float], late: int, context: int, horizon: int) -> None:
    panel = panel_of(a, b, first=(0, late))

    windows = make_windows(panel, context=context, horizon=horizon)

    expected = naive_windows(panel, context, horizon)
    assert len(windows) == len(expected)
    for n, (seen, asked, s, end) in enumerate(expected):
        np.testing.assert_array_equal(windows.context[n], seen)
        np.testing.assert_array_equal(windows.target[n], asked)
        assert (windows.series[n], windows.end[n]) == (s, end)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, cutoff=st.integers(-2, 12), horizon=st.integers(1, 3))
def test_no_value_after_the_cutoff_is_in_a_window_known_by_it(
    a: list[float], b: list[float], cutoff: int, horizon: int
) -> None:
    positions = panel_of([float(t) if v == v else NAN for t, v in enumerate(a)], list(map(float, range(len(b)))))

    known = make_windows(positions, context=2, horizon=horizon).known_by(cutoff)

    assert (known.context <= cutoff).all()
    assert (known.target <= cutoff).all()


@pytest.mark.parametrize("cutoff", range(8))
def test_a_changed_future_changes_no_window_known_by_the_cutoff(cutoff: int) -> None:
    values = [3.0, 1, 4, 1, 5, 9, 2, 6]
    changed = values[: cutoff + 1] + [-1e9] * (len(values) - cutoff - 1)

    known = make_windows(panel_of(values), context=2, horizon=2).known_by(cutoff)
    known_with_another_future = make_windows(panel_of(changed), context=2, horizon=2).known_by(cutoff)

    assert_same(known, known_with_another_future)
    assert len(known) == max(cutoff - 2, 0)


def test_what_is_known_by_a_cutoff_equals_what_is_known_at_the_end_of_the_panel_until_then() -> None:
    panel = panel_of([3, 1, 4, NAN, 5, 9, 2, 6], [2, 7, 1, 8, 2], first=(0, 3))

    for cutoff in range(len(panel.grid)):
        whole = make_windows(panel, context=2, horizon=2).known_by(cutoff)
        assert_same(whole, make_windows(panel.until(cutoff), context=2, horizon=2).known_by(cutoff))


def test_the_window_whose_target_ends_at_the_cutoff_is_known() -> None:
    known = make_windows(panel_of([1, 2, 3, 4, 5]), context=2, horizon=2).known_by(4)

    assert known.target.tolist() == [[3, 4], [4, 5]]


def test_a_window_with_a_gap_in_its_target_is_not_known() -> None:
    known = make_windows(panel_of([1, 2, NAN, 4, 5, 6]), context=2, horizon=1).known_by(5)

    assert known.context.tolist() == [[4, 5]]


def test_windows_end_between_two_positions_both_included() -> None:
    windows = make_windows(panel_of([1, 2, 3, 4, 5]), context=1, horizon=1)

    assert windows.ending(1, 3).end.tolist() == [1, 2, 3]
    assert windows.ending(3, 1).end.tolist() == []


def test_each_series_that_reaches_the_origin_gives_its_newest_context() -> None:
    panel = panel_of([1, 2, 3, 4], [5, 6, 7], [8, 9], [NAN, 3, NAN, 4], first=(0, 0, 2, 0))

    context, series = context_at_origin(panel, 2)

    assert context.tolist() == [[3, 4], [8, 9]]
    assert series.tolist() == [0, 2]


def test_no_series_with_a_context_at_the_origin_gives_none() -> None:
    context, series = context_at_origin(panel_of([1, 2]), 3)

    assert context.shape == (0, 3)
    assert series.tolist() == []
