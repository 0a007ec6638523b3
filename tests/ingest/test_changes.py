"""New, revised and equal values, and the spacing of a series, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.ingest.changes import BatchCounts, compare_values, measure_spacing
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.long_values import LongValues, empty_values

GRID = Frequency("MS").between(np.datetime64("2024-01-01"), np.datetime64("2024-12-01"))


def values(*series: dict[int, float]) -> LongValues:
    """Values by month of 2024, one series after the other."""
    rows = [(s, GRID[month - 1], value) for s, months in enumerate(series) for month, value in months.items()]
    number, period, value = zip(*rows, strict=True)
    return LongValues(np.array(number), np.array(period), np.array(value, np.float64))


def months(*numbers: int) -> dict[int, float]:
    return dict.fromkeys(numbers, 1.0)


def test_a_value_is_new_revised_or_the_same() -> None:
    stored, delivered = values({1: 10, 2: 20, 3: 30}), values({2: 20, 3: 33, 4: 40})

    change = compare_values(delivered, stored)

    assert (change.new.period.tolist(), change.new.value.tolist()) == ([GRID[3].item()], [40])
    assert (change.revised.period.tolist(), change.revised.value.tolist()) == ([GRID[2].item()], [33])
    assert change.num_same == 1


def test_everything_is_new_where_nothing_is_stored() -> None:
    change = compare_values(values({1: 10, 2: 20}), empty_values())

    assert (len(change.new), len(change.revised), change.num_same) == (2, 0, 0)


def test_counts_of_a_batch_add_up_over_its_parts() -> None:
    counts = BatchCounts(num_read=7)

    counts.add(compare_values(values({1: 10, 2: 20}), empty_values()))
    counts.add(compare_values(values({1: 11, 2: 20}), values({1: 10, 2: 20})))

    assert counts.as_dict() == {"num_read": 7, "num_new": 2, "num_revised": 1, "num_same": 1}
    assert counts.num_values == 4


@pytest.mark.parametrize(
    ("series", "rows", "steps", "num_single"),
    [
        ([months(1, 2, 5)], [0, 1], [1, 3], 0),
        ([months(1, 2, 3, 4)], [], [], 3),
        ([months(7)], [], [], 0),
        ([months(1, 3), months(5, 6, 7), months(2, 4, 5)], [0, 5, 6], [2, 2, 1], 2),
        ([months(1, 2), months(12)], [], [], 1),
    ],
    ids=["a gap", "no gap", "one value", "several series", "nothing lies between two series"],
)
def test_steps_are_measured_within_series_that_have_gaps(
    series: list[dict[int, float]], rows: list[int], steps: list[int], num_single: int
) -> None:
    spacing = measure_spacing(values(*series), GRID, np.ones(len(series), bool))

    assert (spacing.rows.tolist(), spacing.steps.tolist(), spacing.num_single) == (rows, steps, num_single)


def test_only_measured_series_count() -> None:
    spacing = measure_spacing(values(months(1, 2, 3), months(1, 3), months(1, 4)), GRID, np.array([False, False, True]))

    assert (spacing.rows.tolist(), spacing.steps.tolist(), spacing.num_single) == ([5], [3], 0)


def test_steps_are_counted_by_their_length() -> None:
    series = [months(1, 2, 5), months(1, 2, 3), months(3, 6)]

    counts = measure_spacing(values(*series), GRID, np.ones(3, bool)).counts()

    assert counts == {1: 3, 3: 2}
