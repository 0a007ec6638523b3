"""Tables of many columns: a series each, or numbers and texts beside the values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld
from tests.support.deliveries import Taken, delivery_of, recipe_of, refusal, take_in
from tests.support.examples import months

JANUARY, FEBRUARY, MARCH, APRIL = (f"2025-{n:02d}-01" for n in range(1, 5))


def wide(columns: str = "", more: str = "", top: str = "") -> Recipe:
    return recipe_of(f'layout = "wide"\n{columns}\n{more}', top=top)


def of_series(taken: Taken, name: str) -> list[float]:
    return [value for key, value in sorted(taken.new.items()) if key[0] == name]


# wide tables


def test_each_column_beside_the_period_is_a_series() -> None:
    rows = [(JANUARY, "1", "10", "100"), (FEBRUARY, "2", "20", "200")]

    taken = take_in(delivery_of(rows, ("month", "NA", "007", "1e5")), wide())

    assert {name: of_series(taken, name) for name in ("NA", "007", "1e5")} == {
        "NA": [1, 2],
        "007": [10, 20],
        "1e5": [100, 200],
    }
    assert (taken.num_read, len(taken.new)) == (2, 6)


def test_only_the_listed_columns_are_series() -> None:
    rows = [(JANUARY, "1", "x", "100")]

    taken = take_in(delivery_of(rows, ("month", "a", "note", "b")), wide('columns = ["b", "a"]'))

    assert taken.new == {("a", "2025-01-01T00:00"): 1, ("b", "2025-01-01T00:00"): 100}


def test_a_listed_column_that_is_missing_refuses_the_batch() -> None:
    error = refusal(delivery_of([(JANUARY, "1")], ("month", "a")), wide('columns = ["a", "b"]'))

    assert str(error) == 'small.csv has no column "b": expected month, a, b, found month, a'


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        (("month",), "small.csv has no column besides month: expected one for each series"),
        (("month", ""), 'small.csv has a column "", which is not a name of a series: expected visible characters'),
        (("month", "a\tb"), r'small.csv has a column "a\tb", which is not a name of a series'),
    ],
)
def test_a_wide_table_needs_columns_with_names(columns: tuple[str, ...], says: str) -> None:
    assert str(refusal(delivery_of([(JANUARY, "1")[: len(columns)]], columns), wide())).startswith(says)


def test_extra_columns_of_a_wide_table_can_be_a_fault_where_columns_are_listed() -> None:
    error = refusal(
        delivery_of([(JANUARY, "1", "2")], ("month", "a", "b")), wide('columns = ["a"]', 'extra_columns = "error"')
    )

    assert "has columns that the recipe does not name: b; expected month, a" in str(error)


def test_a_fault_in_a_wide_table_names_its_column_and_the_others_stay() -> None:
    rows = [(month, "1", "x" if n == 39 else "2") for n, month in enumerate(months(40))]

    taken = take_in(delivery_of(rows, ("month", "a", "b")), wide(more="max_rejected = 0.1"))

    (rejected,) = taken.rejections
    assert (rejected.line, rejected.column, rejected.series, rejected.text) == (41, "b", "b", "x")
    assert (len(of_series(taken, "a")), len(of_series(taken, "b"))) == (40, 39)


@pytest.mark.parametrize("period", ["2023-13-01", "2023-04-02", "2029-01-01"], ids=["none", "off the grid", "ahead"])
def test_a_wrong_period_refuses_the_row_once_and_is_of_no_series(period: str) -> None:
    rows = [*((month, "1", "2", "3") for month in months(39)), (period, "1", "2", "3")]

    taken = take_in(delivery_of(rows, ("month", "a", "b", "c")), wide(more="max_rejected = 0.1"))

    (rejected,) = taken.rejections
    assert (rejected.line, rejected.column, rejected.series) == (41, "month", None)
    assert len(taken.new) == 39 * 3


def test_cells_of_one_row_count_as_one_refused_row() -> None:
    rows = [(month, *("x" * 20 if n == 39 else "1" * 20)) for n, month in enumerate(months(40))]
    names = ("month", *(f"s{n}" for n in range(20)))

    taken = take_in(delivery_of(rows, names), wide(more="max_rejected = 0.03"))

    assert len(taken.rejections) == 20
    assert "1 of 40 rows rejected, at most 0 % allowed" in str(refusal(delivery_of(rows, names), wide()))


def test_duplicate_rows_of_a_wide_table_conflict_by_column() -> None:
    rows = [(JANUARY, "1", "2"), (FEBRUARY, "1", "2"), (FEBRUARY, "1", "3")]

    error = refusal(delivery_of(rows, ("month", "a", "b")), wide())

    assert [(one.line, one.column, one.series, one.text) for one in error.rejections] == [
        (3, "b", "b", "2"),
        (4, "b", "b", "3"),
    ]


def test_empty_cells_of_a_wide_table_are_gaps_of_their_series() -> None:
    rows = [(JANUARY, "1", ""), (FEBRUARY, "2", "5"), (MARCH, "", "6"), (APRIL, "", "7")]

    taken = take_in(delivery_of(rows, ("month", "a", "b")), wide(more='missing = "gap"'))

    assert (of_series(taken, "a"), of_series(taken, "b")) == ([1, 2], [5, 6, 7])
    assert "column b" in str(refusal(delivery_of(rows[:2], ("month", "a", "b")), wide()))


def test_rows_ahead_without_any_value_are_left_alone_where_gaps_are_allowed() -> None:
    rows = [(JANUARY, "1", "2"), ("2026-05-01", "", "NaN")]

    assert len(take_in(delivery_of(rows, ("month", "a", "b")), wide(more='missing = "gap"')).new) == 2
    assert '"2026-05-01" lies in the future' in str(refusal(delivery_of(rows, ("month", "a", "b")), wide()))


def test_a_wide_table_may_have_a_fold() -> None:
    recipe = recipe_of('layout = "wide"\nzone = "Europe/Amsterdam"\nfold = "second"', frequency="h")
    rows = [("2024-10-27 02:00", "0", "1", "5"), ("2024-10-27 02:00", "1", "2", "6")]

    taken = take_in(delivery_of(rows, ("month", "second", "a", "b")), recipe)

    assert (of_series(taken, "a"), of_series(taken, "b")) == ([1, 2], [5, 6])
    assert taken.periods == ["2024-10-27T00:00", "2024-10-27T01:00"]


def test_typed_columns_of_a_wide_table_are_read() -> None:
    rows = [(month, n, n / 2) for n, month in enumerate(months(5))]

    taken = take_in(delivery_of(rows, ("month", "a", "b"), types=[pa.string(), pa.int32(), pa.float64()]), wide())

    assert of_series(taken, "b") == [0, 0.5, 1, 1.5, 2]


# covariates

COLUMNS = ("month", "sold", "shop", "price", "holiday", "region")


def with_covariates(source: str = "", top: str = "", kinds: str = "past future static") -> Recipe:
    lists = {"past": '["price"]', "future": '["holiday"]', "static": '["region"]'}
    rest = "[covariates]\n" + "\n".join(f"{kind} = {lists[kind]}" for kind in kinds.split())
    return recipe_of(f'series = "shop"\n{source}', top=top, rest=rest)


def told(count: int = 6, shop: str = "a", **last: Any) -> list[tuple[Any, ...]]:
    rows = [[month, str(100 + n), shop, f"{n}.5", "0", "north"] for n, month in enumerate(months(count))]
    for name, value in last.items():
        rows[-1][COLUMNS.index(name)] = value
    return [tuple(row) for row in rows]


def test_covariates_are_series_of_their_own_beside_the_target() -> None:
    taken = take_in(delivery_of(told(), COLUMNS), with_covariates())

    assert {key[2:] for key in taken.new} == {(), ("price",), ("holiday",)}
    assert taken.new["a", "2020-03-01T00:00", "price"] == 2.5
    assert taken.attributes == {("a", "region"): "north"}
    assert taken.longest == ("a", 6)


def test_rows_ahead_of_the_last_value_keep_what_is_known_ahead() -> None:
    ahead = [("2026-02-01", "", "a", "", "1", "north"), ("2026-03-01", "NaN", "a", "", "0", "north")]
    recipe = with_covariates(top="max_gap = 100")

    taken = take_in(delivery_of(told() + ahead, COLUMNS), recipe)

    assert taken.rejections == ()
    assert taken.new["a", "2026-02-01T00:00", "holiday"] == 1
    assert ("a", "2026-02-01T00:00") not in taken.new
    assert len(taken.new) == 6 + 6 + 8


def test_an_empty_value_in_between_is_a_fault_all_the_same() -> None:
    rows = told()
    rows[3] = (rows[3][0], "NA", *rows[3][2:])

    error = refusal(delivery_of(rows, COLUMNS, chunk_rows=2), with_covariates())

    assert str(error).startswith('small.csv line 5, column sold: "NA" is missing; 1 of 6 rows rejected')
    assert [(one.line, one.series, one.text) for one in error.rejections] == [(5, "a", "NA")]


def test_what_is_ahead_is_judged_series_by_series() -> None:
    rows = [
        *told(6, "a"),
        *told(4, "b"),
        ("2020-05-01", "", "b", "", "1", "north"),
        ("2020-05-01", "", "c", "", "1", "x"),
    ]

    taken = take_in(delivery_of(rows, COLUMNS), with_covariates())

    assert taken.rejections == ()
    assert taken.new["b", "2020-05-01T00:00", "holiday"] == 1
    assert taken.new["c", "2020-05-01T00:00", "holiday"] == 1


def test_an_empty_value_is_a_fault_where_nothing_is_known_ahead() -> None:
    error = refusal(
        delivery_of([*told(), ("2020-07-01", "", "a", "1", "0", "north")], COLUMNS), with_covariates(kinds="past")
    )

    assert 'line 8, column sold: "" is missing' in str(error)


@pytest.mark.parametrize(("column", "value"), [("sold", "5"), ("price", "1.5")])
def test_a_row_ahead_that_knows_more_is_refused_once(column: str, value: str) -> None:
    ahead = {"sold": "", "price": "", "holiday": "1"} | {column: value}
    row = ("2026-02-01", ahead["sold"], "a", ahead["price"], "1", "north")

    error = refusal(delivery_of([*told(), row], COLUMNS), with_covariates())

    assert [(one.line, one.column, one.text, one.rule) for one in error.rejections] == [
        (8, "month", "2026-02-01", "lies in the future")
    ]


@pytest.mark.parametrize("empty", ["", "NaN", "null"])
def test_an_empty_covariate_is_a_gap(empty: str) -> None:
    taken = take_in(delivery_of(told(price=empty, holiday=empty), COLUMNS), with_covariates())

    assert taken.rejections == ()
    assert len(taken.new) == 6 + 5 + 5


def test_covariates_may_have_longer_gaps_than_the_target() -> None:
    rows = [(m, v, s, "" if 0 < n < 5 else p, h, r) for n, (m, v, s, p, h, r) in enumerate(told())]

    assert len(take_in(delivery_of(rows, COLUMNS), with_covariates()).new) == 6 + 2 + 6


def test_a_typed_covariate_without_a_value_is_a_gap() -> None:
    rows = [(m, float(v), s, math.nan if n == 2 else float(p), None, r) for n, (m, v, s, p, h, r) in enumerate(told())]
    types = [pa.string(), pa.float64(), pa.string(), pa.float64(), pa.int64(), pa.string()]

    assert len(take_in(delivery_of(rows, COLUMNS, types=types), with_covariates()).new) == 6 + 5


def test_a_faulty_covariate_is_refused_in_its_column() -> None:
    error = refusal(delivery_of(told(price="1,5"), COLUMNS), with_covariates())

    assert str(error).startswith('small.csv line 7, column price: "1,5" is not a number')


def test_bounds_are_the_target_s_and_the_limit_is_everyone_s() -> None:
    recipe = with_covariates("minimum = 50.0\nallow_zero = false")

    assert len(take_in(delivery_of(told(), COLUMNS), recipe).new) == 18
    error = refusal(delivery_of(told(price="1e20"), COLUMNS), recipe)
    assert 'line 7, column price: "1e20" is larger than 1e+15' in str(error)


def test_one_row_with_several_faults_is_one_refused_row() -> None:
    error = refusal(delivery_of(told(sold="x", price="y"), COLUMNS), with_covariates())

    assert str(error).startswith('small.csv line 7, column sold: "x" is not a number')
    assert "1 of 6 rows rejected" in str(error)
    assert len(error.rejections) == 2


def test_an_off_grid_row_is_rejected_once_for_all_its_columns() -> None:
    rows = [*told(), ("2020-06-15", "1", "a", "1", "1", "north")]

    error = refusal(delivery_of(rows, COLUMNS), with_covariates(), max_rows_in_memory=3)

    assert [(one.line, one.column, one.rule) for one in error.rejections] == [
        (8, "month", 'is not on the frequency "MS"')
    ]


def test_a_static_text_that_changes_within_a_batch_is_refused_wherever_it_stands() -> None:
    rows = told(6)
    rows[3] = (*rows[3][:5], "south")
    rows[5] = (*rows[5][:5], "south")
    recipe = with_covariates("max_rejected = 0.5")

    for chunk_rows in (1, 3, 100):
        taken = take_in(delivery_of(rows, COLUMNS, chunk_rows=chunk_rows), recipe)

        assert [(one.line, one.column, one.series, one.text) for one in taken.rejections] == [
            (5, "region", "a", "south"),
            (7, "region", "a", "south"),
        ]
        assert {one.rule for one in taken.rejections} == {
            'differs from "north", which the batch gives for the same series'
        }
        assert taken.attributes == {("a", "region"): "north"}
    assert "line 5, column region" in str(refusal(delivery_of(rows, COLUMNS), with_covariates()))


def test_an_empty_static_text_says_nothing() -> None:
    rows = [(*row[:5], "" if n % 2 else "north") for n, row in enumerate(told())]

    taken = take_in(delivery_of(rows, COLUMNS), with_covariates())

    assert (taken.attributes, taken.rejections) == ({("a", "region"): "north"}, ())


def test_a_covariate_can_be_revised_alone() -> None:
    recipe = with_covariates()
    known = take_in(delivery_of(told(), COLUMNS), recipe).new

    taken = take_in(delivery_of(told(price="9.75"), COLUMNS), recipe, known)

    assert taken.revised == {("a", "2020-06-01T00:00", "price"): 9.75}
    assert (taken.new, taken.num_same) == ({}, 17)


def test_the_longest_history_is_one_of_the_target() -> None:
    rows = [*told(3), *((month, "", "a", "1", "0", "north") for month in months(20)[3:])]

    assert take_in(delivery_of(rows, COLUMNS), with_covariates()).longest == ("a", 3)


def test_a_covariate_that_vanishes_is_missed() -> None:
    recipe = with_covariates()
    known = take_in(delivery_of(told(), COLUMNS), recipe).new
    rows = [(*row[:3], "", *row[4:]) for row in told()]

    error = refusal(delivery_of(rows, COLUMNS), recipe, known)

    assert isinstance(error, BatchHeld)
    assert "only 12 of 18 stored values are delivered again" in str(error)


@pytest.mark.parametrize("name", ["NA", "007", "1e5", "null", "TRUE", "1.0", "Ünïcode", "a b", "NaN"])
def test_a_series_is_called_what_is_written(name: str) -> None:
    recipe = recipe_of('series = "shop"')

    assert {key[0] for key in take_in(delivery_of([(JANUARY, "1", name)]), recipe).new} == {name}
    assert {key[0] for key in take_in(delivery_of([(JANUARY, "1")], ("month", name)), wide()).new} == {name}


def test_a_series_without_a_name_is_refused_in_a_typed_column() -> None:
    types = [pa.string(), pa.string(), pa.int64()]

    taken = take_in(
        delivery_of([(JANUARY, "1", 7), (JANUARY, "1", None)], types=types),
        recipe_of('series = "shop"\nmax_rejected = 0.5'),
    )

    assert taken.new == {("7", "2025-01-01T00:00"): 1}
    assert [(one.line, one.column, one.text) for one in taken.rejections] == [(3, "shop", "")]


def test_many_columns_are_read_in_reasonable_time() -> None:
    names = ("month", *(f"s{n}" for n in range(500)))
    values = np.arange(500.0)
    rows = [(month, *map(str, values + n)) for n, month in enumerate(months(60))]

    taken = take_in(delivery_of(rows, names, chunk_rows=20), wide())

    assert len(taken.new) == 30_000
    assert taken.new["s7", "2020-03-01T00:00"] == 9
