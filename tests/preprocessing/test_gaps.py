"""Gaps and constancy of a series."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.preprocessing.gaps import fill_gaps, is_constant
from tests.support.panels import panel_of

NAN = float("nan")


def filled(row: list[float], longest: int) -> list[float]:
    return fill_gaps(panel_of({"a": row}, frequency="D"), longest=longest).series_values(0).tolist()


@pytest.mark.parametrize(
    ("values", "constant"), [([5, 5, 5], True), ([5], True), ([5, NAN, 5], True), ([0, 0], True), ([5, 5, 5.1], False)]
)
def test_a_series_of_one_value_is_constant(values: list[float], constant: bool) -> None:
    assert is_constant(np.array(values, dtype=float)) is constant


def test_a_short_gap_is_filled_on_the_straight_line() -> None:
    assert filled([1, NAN, 3, NAN, NAN, 9], longest=2) == [1, 2, 3, 5, 7, 9]


def test_a_longer_gap_stays() -> None:
    np.testing.assert_array_equal(filled([1, NAN, 3, NAN, NAN, 9], longest=1), [1, 2, 3, NAN, NAN, 9])


def test_nothing_is_filled_where_the_recipe_allows_no_gap() -> None:
    panel = panel_of({"a": [1, NAN, 3]}, frequency="D")

    assert fill_gaps(panel, longest=0) is panel


def test_each_series_is_filled_from_its_own_values() -> None:
    panel = fill_gaps(panel_of({"a": [1, NAN, 3], "b": [10, NAN, 30]}, frequency="D"), longest=1)

    assert (panel.series_values(0).tolist(), panel.series_values(1).tolist()) == ([1, 2, 3], [10, 20, 30])


def test_values_that_were_observed_are_never_changed() -> None:
    row = [0.1, NAN, 0.3, 0.7, NAN, NAN, 1e9]

    after = np.array(filled(row, longest=9))

    present = ~np.isnan(row)
    np.testing.assert_array_equal(after[present], np.array(row)[present])
