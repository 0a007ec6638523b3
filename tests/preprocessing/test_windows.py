"""Windows: where forecasts are made, what a network reads there and is asked for, and that no future is in it."""

import math
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.preprocessing.windows import (
    ContextRequirements,
    Windows,
    draw_windows,
    fill_forward,
    find_windows,
    have_enough_context,
    read_contexts,
    read_targets,
)
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of

NAN = float("nan")


def needing(
    context: int, *, length: int | None = None, known: int | None = None, rather_whole: bool = False, season: int = 1
) -> ContextRequirements:
    """A whole context without gaps, where nothing else is said."""
    return ContextRequirements(
        context=context,
        least_length=context if length is None else length,
        least_known=context if known is None else known,
        rather_whole=rather_whole,
        season=season,
    )


def pairs(windows: Windows) -> list[tuple[int, int]]:
    return list(zip(windows.series.tolist(), windows.end.tolist(), strict=True))


def ending(*ends: int, series: int = 0) -> Windows:
    return Windows(np.full(len(ends), series), np.array(ends))


def naive_context(panel: Panel, s: int, end: int, length: int) -> tuple[list[float], list[bool]]:
    """One value at a time: what is read, and whether it is known."""
    values, told, known = panel.series_values(s), [], []
    for t in range(end - length + 1, end + 1):
        place = t - int(panel.first[s])
        known.append(place >= 0 and not np.isnan(values[place]))
        place = max(place, 0)
        while np.isnan(values[place]):
            place -= 1
        told.append(float(values[place]))
    return told, known


def naive_target(panel: Panel, s: int, end: int, horizon: int) -> list[float]:
    places = [t - int(panel.first[s]) for t in range(end + 1, end + 1 + horizon)]
    return [float(panel.series_values(s)[place]) if place < panel.lengths[s] else NAN for place in places]


def naive_has_enough(panel: Panel, s: int, end: int, needs: ContextRequirements) -> bool:
    if not panel.first[s] <= end <= panel.last[s]:
        return False
    known = naive_context(panel, s, end, needs.context)[1]
    has_season = all(any(known[len(known) - 1 - place :: -needs.season]) for place in range(needs.season))
    is_long = end - panel.first[s] + 1 >= needs.least_length
    return is_long and sum(known) >= needs.least_known and known[-1] and has_season


def naive_windows(panel: Panel, needs: ContextRequirements, horizon: int) -> list[tuple[int, int]]:
    """Of each series: where a context ends that has enough, with all of the target inside."""
    found = []
    for s in range(len(panel.series)):
        first, latest = int(panel.first[s]), int(panel.last[s]) - horizon
        earliest = first
        if needs.rather_whole:
            earliest = min(latest, first + needs.context - 1)
        for end in range(earliest, latest + 1):
            asked = not all(math.isnan(value) for value in naive_target(panel, s, end, horizon))
            if asked and naive_has_enough(panel, s, end, needs):
                found.append((s, end))
    return found


def test_five_values_give_two_windows_whose_targets_are_inside() -> None:
    panel = panel_of([[1, 2, 3, 4, 5]], frequency="D")

    windows = find_windows(panel, needs=needing(2), horizon=2)

    assert windows.end.tolist() == [1, 2]
    assert len(windows) == 2
    assert read_contexts(panel, windows, 2)[0].tolist() == [[1, 2], [2, 3]]
    assert read_targets(panel, windows, 2).tolist() == [[3, 4], [4, 5]]


def test_what_lies_after_the_newest_value_is_no_target() -> None:
    panel = panel_of([[1, 2, 3, 4, 5], [9, 9]], frequency="D")

    np.testing.assert_array_equal(read_targets(panel, ending(2, 3, 4), 2), [[4, 5], [5, NAN], [NAN, NAN]])
    np.testing.assert_array_equal(read_targets(panel, ending(1, series=1), 2), [[NAN, NAN]])


def test_positions_count_from_the_start_of_the_grid_not_of_the_series() -> None:
    panel = panel_of([[1, 2, 3, 4], [7, 8, 9]], first=(0, 2), frequency="D")

    windows = find_windows(panel, needs=needing(2), horizon=1)

    assert pairs(windows) == [(0, 1), (0, 2), (1, 3)]
    assert read_contexts(panel, windows, 2)[0].tolist() == [[1, 2], [2, 3], [7, 8]]
    assert read_targets(panel, windows, 1).tolist() == [[3], [4], [9]]


def test_a_gap_may_be_in_a_context_but_not_where_it_ends_and_may_be_in_a_target() -> None:
    panel = panel_of([[1, 2, NAN, 4, 5]], frequency="D")

    windows = find_windows(panel, needs=needing(2, known=1), horizon=2)

    assert windows.end.tolist() == [1]
    context, known = read_contexts(panel, Windows(np.array([0, 0]), np.array([1, 3])), 2)
    assert context.tolist() == [[1, 2], [2, 4]]
    assert known.tolist() == [[True, True], [False, True]]
    np.testing.assert_array_equal(read_targets(panel, windows, 2), [[NAN, 4]])


def test_a_window_whose_whole_target_is_a_gap_is_not_fitted_on() -> None:
    panel = panel_of([[1, 2, 3, 4, NAN, NAN, 7]], frequency="D")

    assert find_windows(panel, needs=needing(4), horizon=2).end.tolist() == []
    assert find_windows(panel, needs=needing(4), horizon=3).end.tolist() == [3]


def test_a_context_with_too_few_known_values_gives_no_window() -> None:
    panel = panel_of([[1, 2, NAN, NAN, 5, 6, 7, 8]], frequency="D")

    assert find_windows(panel, needs=needing(4, known=3), horizon=1).end.tolist() == [6]
    assert find_windows(panel, needs=needing(4, known=2), horizon=1).end.tolist() == [4, 5, 6]


def test_a_series_shorter_than_what_is_needed_has_no_window() -> None:
    assert find_windows(
        panel_of([[1, 2, 3, 4], [4, 5, 6]], frequency="D"), needs=needing(3), horizon=1
    ).series.tolist() == [0]


def test_no_window_at_all_keeps_the_shapes() -> None:
    panel = panel_of([[1, 2]], frequency="D")

    windows = find_windows(panel, needs=needing(3), horizon=2)

    assert len(windows) == 0
    assert [one.shape for one in read_contexts(panel, windows, 3)] == [(0, 3), (0, 3)]
    assert read_targets(panel, windows, 2).shape == (0, 2)
    assert have_enough_context(panel, windows, needing(3)).shape == (0,)


def test_the_context_of_a_short_series_begins_with_its_first_value_as_not_known() -> None:
    panel = panel_of([[1.0, NAN, 3.0, 4.0], [7.0, 8.0]], first=(0, 2), frequency="D")

    context, known = read_contexts(panel, Windows(np.array([0, 0, 1]), np.array([3, 2, 3])), 4)

    assert context.tolist() == [[1, 1, 3, 4], [1, 1, 1, 3], [7, 7, 7, 8]]
    assert known.tolist() == [
        [True, False, True, True],
        [False, True, False, True],
        [False, False, True, True],
    ]


def test_a_gap_is_filled_by_the_value_before_it_even_where_that_lies_before_the_context() -> None:
    context, known = read_contexts(panel_of([[1, 2, NAN, NAN, 5]], frequency="D"), ending(4), 3)

    assert context.tolist() == [[2, 2, 5]]
    assert known.tolist() == [[False, False, True]]
    values = np.array([1, NAN, NAN, 4, NAN])
    assert fill_forward(values, ~np.isnan(values)).tolist() == [1, 1, 1, 4, 4]


def test_a_series_that_is_long_enough_is_fitted_on_from_whole_contexts_and_a_short_one_from_all_that_it_has() -> None:
    panel = panel_of([[float(t) for t in range(8)], [1, 2, 3, 4], [1, 2, 3], [1, 2]], first=(0, 4, 5, 6), frequency="D")
    needs = needing(4, length=2, known=2)

    assert pairs(find_windows(panel, needs=needs, horizon=1)) == [
        *[(0, end) for end in range(1, 7)],
        (1, 5),
        (1, 6),
        (2, 6),
    ]
    whole = needing(4, length=2, known=2, rather_whole=True)
    assert pairs(find_windows(panel, needs=whole, horizon=1)) == [(0, 3), (0, 4), (0, 5), (0, 6), (1, 6), (2, 6)]


numbers = st.integers(0, 9).map(float)
#: no series starts or ends with a gap
rows = st.tuples(numbers, st.lists(st.one_of(st.just(NAN), numbers), max_size=7), numbers).map(
    lambda parts: [parts[0], *parts[1], parts[2]]
)
shapes = st.builds(
    lambda context, length, known, rather_whole, season: needing(
        context,
        length=min(length, context),
        known=min(known, context),
        rather_whole=rather_whole,
        season=min(season, context),
    ),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 5),
    st.booleans(),
    st.integers(1, 3),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, late=st.integers(0, 4), needs=shapes, horizon=st.integers(1, 4))
def test_windows_equal_a_loop(
    a: list[float], b: list[float], late: int, needs: ContextRequirements, horizon: int
) -> None:
    panel = panel_of([a, b], first=(0, late), frequency="D")

    windows = find_windows(panel, needs=needs, horizon=horizon)

    assert pairs(windows) == naive_windows(panel, needs, horizon)
    context, known = read_contexts(panel, windows, needs.context)
    target = read_targets(panel, windows, horizon)
    for n, (s, end) in enumerate(pairs(windows)):
        assert (context[n].tolist(), known[n].tolist()) == naive_context(panel, s, end, needs.context)
        np.testing.assert_array_equal(target[n], naive_target(panel, s, end, horizon))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, late=st.integers(0, 4), needs=shapes)
def test_which_positions_have_enough_equals_a_loop(
    a: list[float], b: list[float], late: int, needs: ContextRequirements
) -> None:
    panel = panel_of([a, b], first=(0, late), frequency="D")
    everywhere = Windows(np.repeat([0, 1], len(panel.grid)), np.tile(np.arange(len(panel.grid)), 2))

    enough = have_enough_context(panel, everywhere, needs)

    assert enough.tolist() == [bool(naive_has_enough(panel, s, end, needs)) for s, end in pairs(everywhere)]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(a=rows, b=rows, cutoff=st.integers(-2, 12), needs=shapes, horizon=st.integers(1, 3))
def test_no_value_after_the_cutoff_is_in_a_window_known_by_it(
    a: list[float], b: list[float], cutoff: int, needs: ContextRequirements, horizon: int
) -> None:
    panel = panel_of(
        [
            [float(t) if v == v else NAN for t, v in enumerate(a)],
            [float(t) if v == v else NAN for t, v in enumerate(b)],
        ],
        frequency="D",
    )

    known = find_windows(panel, needs=needs, horizon=horizon).with_target_until(cutoff, horizon=horizon)

    assert (read_contexts(panel, known, needs.context)[0] <= cutoff).all()
    assert not (read_targets(panel, known, horizon) > cutoff).any()


@pytest.mark.parametrize("cutoff", range(8))
def test_a_changed_future_changes_no_window_known_by_the_cutoff(cutoff: int) -> None:
    told = [3.0, 1, 4, NAN, 5, 9, 2, 6]
    panel = panel_of([told], frequency="D")
    another_future = panel_of([told[: cutoff + 1] + [-1e9] * (len(told) - cutoff - 1)], frequency="D")
    needs = needing(2, known=1)

    known = find_windows(panel, needs=needs, horizon=2).with_target_until(cutoff, horizon=2)
    likewise = find_windows(another_future, needs=needs, horizon=2).with_target_until(cutoff, horizon=2)

    assert pairs(known) == pairs(likewise) == [(0, end) for end in (1, 2, 4, 5) if end + 2 <= cutoff]
    for one, other in zip(read_contexts(panel, known, 2), read_contexts(another_future, likewise, 2), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(read_targets(panel, known, 2), read_targets(another_future, likewise, 2))


@pytest.mark.parametrize("rather_whole", [False, True])
def test_what_is_known_by_a_cutoff_equals_what_the_panel_until_then_gives(rather_whole: bool) -> None:
    panel = panel_of([[3, 1, 4, 1, NAN, 9, 2, 6], [2, 7, 1, 8, 2]], first=(0, 3), frequency="D")
    needs = needing(3, length=2, known=2)
    whole = find_windows(panel, needs=needs, horizon=2)

    for cutoff in range(len(panel.grid)):
        until = panel.until(cutoff)
        known = whole.with_target_until(cutoff, horizon=2)
        # a series whose newest value is a gap ends before it: its windows whose target ends with that gap are gone
        inside = known.take(known.end + 2 <= panel.until(cutoff).last[known.series])
        assert pairs(find_windows(until, needs=needs, horizon=2)) == pairs(inside)
        np.testing.assert_array_equal(read_targets(until, inside, 2), read_targets(panel, inside, 2))


def test_the_window_whose_target_ends_at_the_cutoff_is_known() -> None:
    windows = find_windows(panel_of([[1, 2, 3, 4, 5, 6, 7]], frequency="D"), needs=needing(2), horizon=2)

    assert windows.end.tolist() == [1, 2, 3, 4]
    assert windows.with_target_until(4, horizon=2).end.tolist() == [1, 2]


def test_windows_are_chosen_by_truth_by_position_and_by_slice() -> None:
    windows = ending(1, 2, 3)

    assert windows.take(windows.end > 1).end.tolist() == [2, 3]
    assert windows.take(np.array([2, 0])).end.tolist() == [3, 1]
    assert windows.take(slice(0, 2)).end.tolist() == [1, 2]


def test_each_series_that_reaches_the_origin_has_enough_there_if_its_context_does() -> None:
    panel = panel_of([[1, 2, 3, 4], [5, 6, 7], [8, 9], [NAN, 3, NAN, 4], [9]], first=(0, 0, 2, 0, 3), frequency="D")
    newest = Windows(np.arange(5), np.full(5, 3))

    assert have_enough_context(panel, newest, needing(2)).tolist() == [True, False, True, False, False]
    assert have_enough_context(panel, newest, needing(2, known=1)).tolist() == [True, False, True, True, False]
    assert have_enough_context(panel, newest, needing(2, length=1, known=1)).tolist() == [True, False, True, True, True]


EVENLY = pytest.mark.parametrize("evenly", ["series", "windows"])


@EVENLY
@pytest.mark.parametrize("rather_whole", [False, True])
def test_every_window_is_drawn_that_a_network_can_be_fitted_on_and_no_other(
    evenly: Literal["series", "windows"], rather_whole: bool
) -> None:
    panel = panel_of(
        [[1, 2, 3, 4, 5, 6, 7, 8], [1, NAN, NAN, 4, 5, 6, NAN, 8], [1, 2], [1, 2, 3, 4]],
        first=(0, 3, 9, 7),
        frequency="D",
    )
    needs = needing(3, length=2, known=2, rather_whole=rather_whole)

    drawn = draw_windows(panel, 400, needs=needs, horizon=2, evenly=evenly, rng=np.random.default_rng(0))

    assert len(drawn) == 400
    assert set(pairs(drawn)) == set(pairs(find_windows(panel, needs=needs, horizon=2)))


@EVENLY
def test_each_series_or_each_window_is_as_likely(evenly: Literal["series", "windows"]) -> None:
    panel = panel_of([[1.0] * 6, [1.0] * 96, [1.0] * 2], frequency="D")
    needs = needing(2)

    drawn = draw_windows(panel, 9000, needs=needs, horizon=1, evenly=evenly, rng=np.random.default_rng(0))

    share = np.bincount(drawn.series, minlength=3) / 9000
    expected = [0.5, 0.5, 0] if evenly == "series" else [4 / 98, 94 / 98, 0]
    np.testing.assert_allclose(share, expected, atol=0.02)
    of_the_long_one = np.bincount(drawn.end[drawn.series == 1], minlength=96)
    assert of_the_long_one[[0, 95]].tolist() == [0, 0]
    assert of_the_long_one[1:95].min() > 0.4 * of_the_long_one[1:95].mean()


@EVENLY
def test_windows_that_lack_known_values_are_drawn_again(evenly: Literal["series", "windows"]) -> None:
    sparse = [1.0, *[NAN] * 30, 2.0, 3.0, 4.0]

    drawn = draw_windows(
        panel_of([sparse], frequency="D"), 50, needs=needing(2), horizon=1, evenly=evenly, rng=np.random.default_rng(0)
    )

    assert set(pairs(drawn)) == {(0, 32)}
    assert len(drawn) == 50
    half = panel_of([([1.0, 2, 3, NAN] * 200)[:-1]], frequency="D")
    anew = draw_windows(half, 40, needs=needing(2), horizon=1, evenly=evenly, rng=np.random.default_rng(0))
    assert len(set(pairs(anew))) > 30  # of 400: not the usable half of 40 twice


@EVENLY
@pytest.mark.parametrize(
    "row", [[1.0, 2], [1, NAN, 3, NAN, 5], [1.0, NAN, NAN, 4]], ids=["too short", "every other", "ends alone"]
)
def test_a_panel_without_usable_windows_gives_none(evenly: Literal["series", "windows"], row: list[float]) -> None:
    panel = panel_of([row, row], frequency="D")

    drawn = draw_windows(panel, 50, needs=needing(2), horizon=1, evenly=evenly, rng=np.random.default_rng(0))

    assert len(find_windows(panel, needs=needing(2), horizon=1)) == len(drawn) == 0
    assert read_contexts(panel, drawn, 2)[0].shape == (0, 2)


@EVENLY
def test_the_same_seed_draws_the_same_windows_and_another_seed_others(evenly: Literal["series", "windows"]) -> None:
    panel = panel_of([[1.0] * 30, [1.0] * 20], frequency="D")

    first, again, other = (
        draw_windows(panel, 20, needs=needing(2), horizon=1, evenly=evenly, rng=np.random.default_rng(seed))
        for seed in (0, 0, 1)
    )

    assert pairs(first) == pairs(again) != pairs(other)


@EVENLY
def test_a_changed_future_changes_no_window_drawn_up_to_the_cutoff(evenly: Literal["series", "windows"]) -> None:
    told = [3.0, 1, 4, 8, NAN, 5, 9, 2, 6]
    panel, another_future = panel_of([told], frequency="D"), panel_of([[*told[:6], -1e9, NAN, 7]], frequency="D")

    drawn, likewise = (
        draw_windows(one.until(5), 40, needs=needing(2), horizon=1, evenly=evenly, rng=np.random.default_rng(3))
        for one in (panel, another_future)
    )

    assert pairs(drawn) == pairs(likewise)
    assert set(drawn.end.tolist()) == {1, 2}  # later ones have the gap in them, or a target after the cutoff
