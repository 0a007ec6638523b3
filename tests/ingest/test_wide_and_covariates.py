"""Tables of many columns: a series each, or numbers and texts beside the values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld
from tests.support.deliveries import Ingested, delivery_of, ingest_delivery, recipe_of, refusal
from tests.support.examples import months

JANUARY, FEBRUARY, MARCH, APRIL = (f"2025-{n:02d}-01" for n in range(1, 5))


def wide(columns: str = "", more: str = "", top: str = "") -> Recipe:
    return recipe_of(f'layout = "wide"\n{columns}\n{more}', top=top)


def of_series(ingested: Ingested, name: str) -> list[float]:
    return [value for key, value in sorted(ingested.new.items()) if key[0] == name]


# wide tables


def test_each_column_besides_the_period_is_a_series() -> None:
    rows = [(JANUARY, "1", "10", "100"), (FEBRUARY, "2", "20", "200")]

    ingested = ingest_delivery(delivery_of(rows, ("month", "NA", "007", "1e5")), wide())

    assert {name: of_series(ingested, name) for name in ("NA", "007", "1e5")} == {
        "NA": [1, 2],
        "007": [10, 20],
        "1e5": [100, 200],
    }
    assert (ingested.num_read, len(ingested.new)) == (2, 6)


def test_only_the_listed_columns_are_series() -> None:
    rows = [(JANUARY, "1", "x", "100")]

    ingested = ingest_delivery(delivery_of(rows, ("month", "a", "note", "b")), wide('columns = ["b", "a"]'))

    assert ingested.new == {("a", "2025-01-01T00:00"): 1, ("b", "2025-01-01T00:00"): 100}


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
def test_a_wide_table_needs_columns_with_visible_names(columns: tuple[str, ...], says: str) -> None:
    assert str(refusal(delivery_of([(JANUARY, "1")[: len(columns)]], columns), wide())).startswith(says)


def test_extra_columns_of_a_wide_table_can_be_a_fault_where_columns_are_listed() -> None:
    error = refusal(
        delivery_of([(JANUARY, "1", "2")], ("month", "a", "b")), wide('columns = ["a"]', 'extra_columns = "error"')
    )

    assert "has columns that the recipe does not name: b; expected month, a" in str(error)


def test_a_fault_in_a_wide_table_names_its_column_and_leaves_the_others() -> None:
    rows = [(month, "1", "x" if n == 39 else "2") for n, month in enumerate(months(40))]

    ingested = ingest_delivery(delivery_of(rows, ("month", "a", "b")), wide(more="max_rejected = 0.1"))

    (rejected,) = ingested.rejections
    assert (rejected.line, rejected.column, rejected.series, rejected.text) == (41, "b", "b", "x")
    assert (len(of_series(ingested, "a")), len(of_series(ingested, "b"))) == (40, 39)


@pytest.mark.parametrize("period", ["2023-13-01", "2023-04-02", "2029-01-01"], ids=["none", "off the grid", "ahead"])
def test_a_wrong_period_rejects_a_wide_row_once_without_a_series(period: str) -> None:
    rows = [*((month, "1", "2", "3") for month in months(39)), (period, "1", "2", "3")]

    ingested = ingest_delivery(delivery_of(rows, ("month", "a", "b", "c")), wide(more="max_rejected = 0.1"))

    (rejected,) = ingested.rejections
    assert (rejected.line, rejected.column, rejected.series) == (41, "month", None)
    assert len(ingested.new) == 39 * 3


def test_faulty_cells_of_one_row_count_as_one_rejected_row() -> None:
    rows = [(month, *("x" * 20 if n == 39 else "1" * 20)) for n, month in enumerate(months(40))]
    names = ("month", *(f"s{n}" for n in range(20)))

    ingested = ingest_delivery(delivery_of(rows, names), wide(more="max_rejected = 0.03"))

    assert len(ingested.rejections) == 20
    assert "1 of 40 rows rejected, at most 0 % allowed" in str(refusal(delivery_of(rows, names), wide()))


def test_a_bad_column_of_a_wide_table_counts_as_its_share_of_the_rows() -> None:
    names = ("month", *(f"s{n}" for n in range(25)))
    rows = [(month, "x", *("1" * 24)) for month in months(40)]

    ingested = ingest_delivery(delivery_of(rows, names), wide(more="max_rejected = 0.05"))

    assert len(ingested.rejections) == 40
    assert len(ingested.new) == 40 * 24
    assert "40 of 40 rows rejected" in str(refusal(delivery_of(rows, names), wide(more="max_rejected = 0.03")))


def test_a_repeated_day_of_a_wide_table_is_one_row_too_many() -> None:
    names = ("month", *(f"s{n}" for n in range(25)))
    rows = [(month, *(str(n) for n in range(25))) for month in months(40)]
    rows.append((rows[-1][0], *(str(n + 1) for n in range(25))))

    ingested = ingest_delivery(delivery_of(rows, names), wide(more="max_rejected = 0.03"))

    assert len(ingested.rejections) == 50
    assert len(ingested.new) == 39 * 25


def test_duplicate_rows_of_a_wide_table_conflict_by_column() -> None:
    rows = [(JANUARY, "1", "2"), (FEBRUARY, "1", "2"), (FEBRUARY, "1", "3")]

    error = refusal(delivery_of(rows, ("month", "a", "b")), wide())

    assert [(one.line, one.column, one.series, one.text) for one in error.rejections] == [
        (3, "b", "b", "2"),
        (4, "b", "b", "3"),
    ]


def test_empty_cells_of_a_wide_table_are_gaps_of_their_series() -> None:
    rows = [(JANUARY, "1", ""), (FEBRUARY, "2", "5"), (MARCH, "", "6"), (APRIL, "", "7")]

    ingested = ingest_delivery(delivery_of(rows, ("month", "a", "b")), wide(more='missing = "gap"'))

    assert (of_series(ingested, "a"), of_series(ingested, "b")) == ([1, 2], [5, 6, 7])
    assert "column b" in str(refusal(delivery_of(rows[:2], ("month", "a", "b")), wide()))


def test_future_rows_without_any_value_are_ignored_where_gaps_are_allowed() -> None:
    rows = [(JANUARY, "1", "2"), ("2026-05-01", "", "NaN")]

    assert len(ingest_delivery(delivery_of(rows, ("month", "a", "b")), wide(more='missing = "gap"')).new) == 2
    assert '"2026-05-01" lies in the future' in str(refusal(delivery_of(rows, ("month", "a", "b")), wide()))


def test_a_wide_table_may_have_a_fold() -> None:
    recipe = recipe_of('layout = "wide"\nzone = "Europe/Amsterdam"\nfold = "second"', frequency="h")
    rows = [("2024-10-27 02:00", "0", "1", "5"), ("2024-10-27 02:00", "1", "2", "6")]

    ingested = ingest_delivery(delivery_of(rows, ("month", "second", "a", "b")), recipe)

    assert (of_series(ingested, "a"), of_series(ingested, "b")) == ([1, 2], [5, 6])
    assert ingested.periods == ["2024-10-27T00:00", "2024-10-27T01:00"]


def test_typed_columns_of_a_wide_table_are_read() -> None:
    rows = [(month, n, n / 2) for n, month in enumerate(months(5))]

    ingested = ingest_delivery(
        delivery_of(rows, ("month", "a", "b"), types=[pa.string(), pa.int32(), pa.float64()]), wide()
    )

    assert of_series(ingested, "b") == [0, 0.5, 1, 1.5, 2]


# covariates

COLUMNS = ("month", "sold", "shop", "price", "holiday", "region")


def with_covariates(source: str = "", top: str = "", kinds: str = "past future static") -> Recipe:
    lists = {"past": '["price"]', "future": '["holiday"]', "static": '["region"]'}
    rest = "[covariates]\n" + "\n".join(f"{kind} = {lists[kind]}" for kind in kinds.split())
    return recipe_of(f'series = "shop"\n{source}', top=top, rest=rest)


def covariate_rows(count: int = 6, shop: str = "a", **last: Any) -> list[tuple[Any, ...]]:
    rows = [[month, str(100 + n), shop, f"{n}.5", "0", "north"] for n, month in enumerate(months(count))]
    for name, value in last.items():
        rows[-1][COLUMNS.index(name)] = value
    return [tuple(row) for row in rows]


def test_covariates_are_stored_as_series_beside_the_target() -> None:
    ingested = ingest_delivery(delivery_of(covariate_rows(), COLUMNS), with_covariates())

    assert {key[2:] for key in ingested.new} == {(), ("price",), ("holiday",)}
    assert ingested.new["a", "2020-03-01T00:00", "price"] == 2.5
    assert ingested.attributes == {("a", "region"): "north"}
    assert ingested.longest == ("a", 6)


def test_rows_after_the_last_target_keep_covariates_known_ahead() -> None:
    ahead = [("2026-02-01", "", "a", "", "1", "north"), ("2026-03-01", "NaN", "a", "", "0", "north")]
    recipe = with_covariates(top="max_gap = 100")

    ingested = ingest_delivery(delivery_of(covariate_rows() + ahead, COLUMNS), recipe)

    assert ingested.rejections == ()
    assert ingested.new["a", "2026-02-01T00:00", "holiday"] == 1
    assert ("a", "2026-02-01T00:00") not in ingested.new
    assert len(ingested.new) == 6 + 6 + 8


def test_a_missing_target_before_the_last_one_is_a_fault() -> None:
    rows = covariate_rows()
    rows[3] = (rows[3][0], "NA", *rows[3][2:])

    error = refusal(delivery_of(rows, COLUMNS, chunk_rows=2), with_covariates())

    assert str(error).startswith('small.csv line 5, column sold: "NA" is missing; 1 of 6 rows rejected')
    assert [(one.line, one.series, one.text) for one in error.rejections] == [(5, "a", "NA")]


def test_each_series_has_its_own_last_target() -> None:
    rows = [
        *covariate_rows(6, "a"),
        *covariate_rows(4, "b"),
        ("2020-05-01", "", "b", "", "1", "north"),
        ("2020-05-01", "", "c", "", "1", "x"),
    ]

    ingested = ingest_delivery(delivery_of(rows, COLUMNS), with_covariates())

    assert ingested.rejections == ()
    assert ingested.new["b", "2020-05-01T00:00", "holiday"] == 1
    assert ingested.new["c", "2020-05-01T00:00", "holiday"] == 1


def test_a_missing_last_target_is_a_fault_without_covariates_known_ahead() -> None:
    error = refusal(
        delivery_of([*covariate_rows(), ("2020-07-01", "", "a", "1", "0", "north")], COLUMNS),
        with_covariates(kinds="past"),
    )

    assert 'line 8, column sold: "" is missing' in str(error)


@pytest.mark.parametrize(("column", "value"), [("sold", "5"), ("price", "1.5")])
def test_a_future_row_with_other_values_is_rejected_once(column: str, value: str) -> None:
    ahead = {"sold": "", "price": "", "holiday": "1"} | {column: value}
    row = ("2026-02-01", ahead["sold"], "a", ahead["price"], "1", "north")

    error = refusal(delivery_of([*covariate_rows(), row], COLUMNS), with_covariates())

    assert [(one.line, one.column, one.text, one.rule) for one in error.rejections] == [
        (8, "month", "2026-02-01", "lies in the future")
    ]


@pytest.mark.parametrize("empty", ["", "NaN", "null"])
def test_an_empty_covariate_is_a_gap(empty: str) -> None:
    ingested = ingest_delivery(delivery_of(covariate_rows(price=empty, holiday=empty), COLUMNS), with_covariates())

    assert ingested.rejections == ()
    assert len(ingested.new) == 6 + 5 + 5


def test_covariates_may_have_longer_gaps_than_the_target() -> None:
    rows = [(m, v, s, "" if 0 < n < 5 else p, h, r) for n, (m, v, s, p, h, r) in enumerate(covariate_rows())]

    assert len(ingest_delivery(delivery_of(rows, COLUMNS), with_covariates()).new) == 6 + 2 + 6


def test_a_typed_covariate_without_a_value_is_a_gap() -> None:
    rows = [
        (m, float(v), s, math.nan if n == 2 else float(p), None, r)
        for n, (m, v, s, p, h, r) in enumerate(covariate_rows())
    ]
    types = [pa.string(), pa.float64(), pa.string(), pa.float64(), pa.int64(), pa.string()]

    assert len(ingest_delivery(delivery_of(rows, COLUMNS, types=types), with_covariates()).new) == 6 + 5


def test_a_faulty_covariate_is_rejected_in_its_column() -> None:
    error = refusal(delivery_of(covariate_rows(price="1,5"), COLUMNS), with_covariates())

    assert str(error).startswith('small.csv line 7, column price: "1,5" is not a number')


def test_bounds_apply_to_the_target_and_the_limit_to_all_columns() -> None:
    recipe = with_covariates("minimum = 50.0\nallow_zero = false")

    assert len(ingest_delivery(delivery_of(covariate_rows(), COLUMNS), recipe).new) == 18
    error = refusal(delivery_of(covariate_rows(price="1e20"), COLUMNS), recipe)
    assert 'line 7, column price: "1e20" is larger than 1e+15' in str(error)


def test_a_row_with_several_faults_counts_once() -> None:
    error = refusal(delivery_of(covariate_rows(sold="x", price="y"), COLUMNS), with_covariates())

    assert str(error).startswith('small.csv line 7, column sold: "x" is not a number')
    assert "1 of 6 rows rejected" in str(error)
    assert len(error.rejections) == 2


def test_an_off_grid_row_is_rejected_once_for_all_its_columns() -> None:
    rows = [*covariate_rows(), ("2020-06-15", "1", "a", "1", "1", "north")]

    error = refusal(delivery_of(rows, COLUMNS), with_covariates(), max_rows_in_memory=3)

    assert [(one.line, one.column, one.rule) for one in error.rejections] == [
        (8, "month", 'is not on the frequency "MS"')
    ]


def test_a_static_text_that_differs_within_a_batch_is_rejected_in_any_chunk() -> None:
    rows = covariate_rows(6)
    rows[3] = (*rows[3][:5], "south")
    rows[5] = (*rows[5][:5], "south")
    recipe = with_covariates("max_rejected = 0.5")

    for chunk_rows in (1, 3, 100):
        ingested = ingest_delivery(delivery_of(rows, COLUMNS, chunk_rows=chunk_rows), recipe)

        assert [(one.line, one.column, one.series, one.text) for one in ingested.rejections] == [
            (5, "region", "a", "south"),
            (7, "region", "a", "south"),
        ]
        assert {one.rule for one in ingested.rejections} == {
            'differs from "north", which the batch gives for the same series'
        }
        assert ingested.attributes == {("a", "region"): "north"}
    assert "line 5, column region" in str(refusal(delivery_of(rows, COLUMNS), with_covariates()))


def test_an_empty_static_text_is_ignored() -> None:
    rows = [(*row[:5], "" if n % 2 else "north") for n, row in enumerate(covariate_rows())]

    ingested = ingest_delivery(delivery_of(rows, COLUMNS), with_covariates())

    assert (ingested.attributes, ingested.rejections) == ({("a", "region"): "north"}, ())


def test_a_covariate_can_be_revised_alone() -> None:
    recipe = with_covariates()
    stored = ingest_delivery(delivery_of(covariate_rows(), COLUMNS), recipe).new

    ingested = ingest_delivery(delivery_of(covariate_rows(price="9.75"), COLUMNS), recipe, stored)

    assert ingested.revised == {("a", "2020-06-01T00:00", "price"): 9.75}
    assert (ingested.new, ingested.num_same) == ({}, 17)


def test_covariates_do_not_count_as_the_longest_history() -> None:
    rows = [*covariate_rows(3), *((month, "", "a", "1", "0", "north") for month in months(20)[3:])]

    assert ingest_delivery(delivery_of(rows, COLUMNS), with_covariates()).longest == ("a", 3)


def test_missing_values_of_a_covariate_count_as_missing() -> None:
    recipe = with_covariates()
    stored = ingest_delivery(delivery_of(covariate_rows(), COLUMNS), recipe).new
    rows = [(*row[:3], "", *row[4:]) for row in covariate_rows()]

    error = refusal(delivery_of(rows, COLUMNS), recipe, stored)

    assert isinstance(error, BatchHeld)
    assert "only 12 of 18 stored values are delivered again" in str(error)


@pytest.mark.parametrize("name", ["NA", "007", "1e5", "null", "TRUE", "1.0", "Ünïcode", "a b", "NaN"])
def test_a_series_name_is_kept_as_written(name: str) -> None:
    recipe = recipe_of('series = "shop"')

    assert {key[0] for key in ingest_delivery(delivery_of([(JANUARY, "1", name)]), recipe).new} == {name}
    assert {key[0] for key in ingest_delivery(delivery_of([(JANUARY, "1")], ("month", name)), wide()).new} == {name}


def test_a_row_without_a_series_name_is_rejected_in_a_typed_column() -> None:
    types = [pa.string(), pa.string(), pa.int64()]

    ingested = ingest_delivery(
        delivery_of([(JANUARY, "1", 7), (JANUARY, "1", None)], types=types),
        recipe_of('series = "shop"\nmax_rejected = 0.5'),
    )

    assert ingested.new == {("7", "2025-01-01T00:00"): 1}
    assert [(one.line, one.column, one.text) for one in ingested.rejections] == [(3, "shop", "")]


def test_many_columns_are_read_in_reasonable_time() -> None:
    names = ("month", *(f"s{n}" for n in range(500)))
    values = np.arange(500.0)
    rows = [(month, *map(str, values + n)) for n, month in enumerate(months(60))]

    ingested = ingest_delivery(delivery_of(rows, names, chunk_rows=20), wide())

    assert len(ingested.new) == 30_000
    assert ingested.new["s7", "2020-03-01T00:00"] == 9
