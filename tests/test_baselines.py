"""Baselines: the last value and the value one season before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.baselines import baseline, naive, seasonal_naive

CONTEXT = np.array([[1.0, 2, 3, 4], [8, 7, 6, 5]])


def test_naive_repeats_the_last_value() -> None:
    assert naive(CONTEXT, 3).tolist() == [[4, 4, 4], [5, 5, 5]]


def test_seasonal_naive_repeats_the_last_season() -> None:
    assert seasonal_naive(CONTEXT, 5, 3).tolist() == [[2, 3, 4, 2, 3], [7, 6, 5, 7, 6]]


def test_a_season_of_one_step_is_the_naive_forecast() -> None:
    np.testing.assert_array_equal(seasonal_naive(CONTEXT, 3, 1), naive(CONTEXT, 3))


def test_a_context_of_exactly_one_season_is_repeated() -> None:
    assert seasonal_naive(CONTEXT, 4, 4).tolist() == CONTEXT.tolist()


def test_a_context_shorter_than_a_season_falls_back_to_the_last_value() -> None:
    np.testing.assert_array_equal(seasonal_naive(CONTEXT, 2, 5), naive(CONTEXT, 2))


def test_no_windows_give_no_forecasts() -> None:
    assert naive(np.empty((0, 4)), 3).shape == (0, 3)
    assert seasonal_naive(np.empty((0, 4)), 3, 2).shape == (0, 3)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(context=st.lists(st.integers(-9, 9), min_size=1, max_size=12), horizon=st.integers(1, 15), data=st.data())
def test_seasonal_naive_equals_walking_one_season_back(context: list[int], horizon: int, data: st.DataObject) -> None:
    season = data.draw(st.integers(1, len(context)))

    walked = list(context)
    for _ in range(horizon):
        walked.append(walked[-season])

    assert seasonal_naive(np.array([context], float), horizon, season)[0].tolist() == walked[len(context) :]


@pytest.mark.parametrize(("name", "expected"), [("naive", [4, 4]), ("seasonal-naive", [3, 4])])
def test_a_recipe_names_its_baseline(name: str, expected: list[float]) -> None:
    assert baseline(name, CONTEXT[:1], horizon=2, season=2).tolist() == [expected]
