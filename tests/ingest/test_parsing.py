"""Columns as numbers and periods: what is read exactly, and what is named instead of guessed."""

from __future__ import annotations

import math
import random
import re
import sys
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.ingest.parsers import MISSING, NUMBER, PeriodParser, parse_value, parse_values
from tests.support.deliveries import recipe_of

SOURCE = recipe_of().source
#: what looks like a number, or nearly so
NEARLY = st.text("0123456789.+-eE naifINFy_,x１", max_size=8) | st.from_regex(NUMBER, fullmatch=True)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("+1", 1),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("1E-3", 0.001),
        ("007", 7),
        ("-0", 0),
    ],
)
def test_a_number_is_read_as_it_is_written(text: str, value: float) -> None:
    assert parse_value(text) == (value, None)


def test_a_number_comes_back_from_its_text() -> None:
    generator = random.Random(0)

    for _ in range(1000):
        value = generator.uniform(-1, 1) * 10 ** generator.randint(-10, 14)
        assert parse_value(repr(value)) == (value, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        *((text, "is missing") for text in ("", "NaN", "nan", "NA", "null", "None", "<NA>", "NaT")),
        *((text, "is not finite") for text in ("inf", "-inf", "Infinity", "+INF", "1e999", "-1e999", "9" * 400)),
        *(
            (text, "is not a number: expected digits, a point and an exponent only")
            for text in (
                "abc",
                "1,5",
                "1 000",
                "1_000",
                "0x10",
                "12a",
                "1e",
                "e5",
                ".",
                "+",
                "--1",
                "1.2.3",
                "１２",
                "١٠٤",
                "nan(1)",
                "-nan",
                "1d5",
                "1f",
                "TRUE",
            )
        ),
        ("1%", 'has the unit "%", most rows have no unit: expected the same in all rows'),
        ("€1", 'has the unit "€", most rows have no unit: expected the same in all rows'),
        ("(1)", "is in parentheses: a negative number or a remark? Expected a minus sign"),
    ],
)
def test_a_text_that_is_no_usable_number_names_the_rule(text: str, fault: str) -> None:
    value, found = parse_value(text)

    assert math.isnan(value)
    assert found == fault


@given(column=st.lists(NEARLY | st.floats().map(repr) | st.integers().map(str), min_size=1, max_size=20))
@settings(max_examples=1000, deadline=None)
def test_a_column_is_parsed_like_each_of_its_texts(column: list[str]) -> None:
    alone = [parse_value(text.strip()) for text in column]

    read = parse_values(pa.array(column), SOURCE.model_copy(update={"limit": sys.float_info.max}), bounded=False)

    np.testing.assert_array_equal(read.values, [value for value, _ in alone])
    np.testing.assert_array_equal(read.is_missing, [rule == MISSING for _, rule in alone])
    assert read.faults == {n: rule for n, (_, rule) in enumerate(alone) if rule not in (None, MISSING)}


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None, 3], pa.int64()),
        pa.array([1, None, 3], pa.uint8()),
        pa.array([1.0, math.nan, 3.0]),
        pa.array([1.0, None, 3.0], pa.float32()),
        pa.array([Decimal("1"), None, Decimal("3")]),
        pa.array(["1", None, "3"]),
        pa.array([" 1 ", " ", "3"]),
        pa.array(["1", "nan", "+3"], pa.large_string()),
        pa.array(["1", "NULL", "3"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_numbers_of_any_type_are_read(column: pa.Array) -> None:
    read = parse_values(column, SOURCE, bounded=True)

    np.testing.assert_array_equal(read.values, [1, math.nan, 3])
    assert (read.is_missing.tolist(), read.faults) == ([False, True, False], {})


@pytest.mark.parametrize(
    "column", [pa.array([True, False]), pa.array([date(2020, 1, 1)]), pa.nulls(2)], ids=lambda column: str(column.type)
)
def test_values_of_a_type_without_numbers_are_faults_or_missing(column: pa.Array) -> None:
    read = parse_values(column, SOURCE, bounded=True)

    assert np.isnan(read.values).all()
    assert read.is_missing.all() or len(read.faults) == len(column)


@pytest.mark.parametrize(
    ("keys", "column", "faults"),
    [
        ({}, ["1e15", "-1e15", "1.1e15"], {2: "is larger than 1e+15, the recipe's source.limit"}),
        ({"limit": 1000.0}, ["1000", "-1000.1"], {1: "is larger than 1000, the recipe's source.limit"}),
        ({"minimum": 0.0}, ["0", "-0.5"], {1: "is below 0, the recipe's source.minimum"}),
        ({"maximum": 9.5}, ["9.5", "9.6"], {1: "is above 9.5, the recipe's source.maximum"}),
        ({"allow_zero": False}, ["1", "-0"], {1: "is zero, which the recipe's source.allow_zero excludes"}),
        ({"minimum": 1.0, "allow_zero": False}, ["1", "0"], {1: "is below 1, the recipe's source.minimum"}),
    ],
)
def test_values_keep_the_bounds_that_the_recipe_states(
    keys: dict[str, Any], column: list[str], faults: dict[int, str]
) -> None:
    contract = SOURCE.model_copy(update=keys)

    for typed in (pa.array(column), pa.array([float(text) for text in column])):
        read = parse_values(typed, contract, bounded=True)

        assert read.faults == faults
        assert np.isnan(read.values[list(faults)]).all()
        assert not np.isnan(np.delete(read.values, list(faults))).any()


def test_only_the_limit_applies_to_covariates() -> None:
    contract = SOURCE.model_copy(update={"minimum": 0.0, "maximum": 1.0, "allow_zero": False})

    read = parse_values(pa.array(["-5", "0", "5", "1e300"]), contract, bounded=False)

    assert list(read.faults) == [3]


def periods(column: pa.Array, frequency: str = "MS", **keys: Any) -> tuple[list[str], dict[int, str]]:
    recipe = recipe_of(frequency=frequency)
    parser = PeriodParser(recipe.source.model_copy(update=keys), recipe.grid)
    read, faults = parser.parse(column, None)
    return [str(one)[:19] for one in read], faults


@pytest.mark.parametrize(
    "column",
    [
        pa.array([date(2020, 1, 1), None]),
        pa.array([datetime(2020, 1, 1), None], pa.date64()),
        pa.array([datetime(2020, 1, 1), None], pa.timestamp("s")),
        pa.array([datetime(2020, 1, 1), None], pa.timestamp("ns")),
        pa.array([datetime(2020, 1, 1), None], pa.timestamp("us", "UTC")),
        pa.array(["2020-01-01", None]),
    ],
    ids=lambda column: str(column.type),
)
def test_periods_of_any_type_are_read(column: pa.Array) -> None:
    read, faults = periods(column)

    assert read == ["2020-01-01T00:00:00", "NaT"]
    assert list(faults) == [1]
    assert faults[1].startswith("is not a period: expected ")


@pytest.mark.parametrize("stamp", [-(2**62), 2**62, 2**40, -(2**40)])
def test_a_typed_moment_that_no_calendar_holds_is_rejected(stamp: int) -> None:
    read, faults = periods(pa.array([stamp, 0], pa.int64()).cast(pa.timestamp("s")), "h")

    assert read == ["NaT", "1970-01-01T00:00:00"]
    assert faults == {0: "is not a period: expected a timestamp"}


def test_a_year_may_be_a_number() -> None:
    assert periods(pa.array([2020, 2021]), "YS") == (["2020-01-01T00:00:00", "2021-01-01T00:00:00"], {})


def test_the_first_row_decides_how_periods_are_written_in_all_chunks() -> None:
    recipe = recipe_of()
    parser = PeriodParser(recipe.source, recipe.grid)

    first, _ = parser.parse(pa.array(["2020-01"]), None)
    second, faults = parser.parse(pa.array(["2020-02-01", "2020-02"]), None)

    assert [str(one)[:10] for one in (*first, *second)] == ["2020-01-01", "NaT", "2020-02-01"]
    assert faults == {0: "is not a period: expected YYYY-MM, as in the first row"}


def test_a_first_row_that_is_no_period_says_what_was_expected() -> None:
    _, faults = periods(pa.array(["(UTC)", "2020-01-01"]))

    rule = "is not a period: expected ISO 8601, such as 2026-01-31, or source.period_format in the recipe"
    assert faults == {0: rule, 1: rule}


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d.%m.%Y", "31.1.2020", "2020-01-31T00:00:00"),
        ("%b %Y", "Feb 2020", "2020-02-01T00:00:00"),
        ("%Y%m%d%H", "2020010203", "2020-01-02T03:00:00"),
        ("%Y-%m-%dT%H:%M%z", "2020-01-01T01:00+0200", "2019-12-31T23:00:00"),
    ],
)
def test_a_given_format_may_have_an_offset(form: str, text: str, expected: str) -> None:
    assert periods(pa.array([text]), "h", period_format=form) == ([expected], {})


@given(
    moments=st.lists(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29)), min_size=1, max_size=5),
    hours=st.integers(-23, 23),
)
@settings(max_examples=300, deadline=None)
def test_iso_texts_are_read_as_python_reads_them(moments: list[datetime], hours: int) -> None:
    offset = f"{'-' if hours < 0 else '+'}{abs(hours):02d}:00"

    naive, _ = periods(pa.array([one.isoformat(" ", "seconds") for one in moments]), "s")
    aware, _ = periods(pa.array([one.isoformat("T", "seconds") + offset for one in moments]), "s")

    assert naive == [one.isoformat(timespec="seconds") for one in moments]
    assert aware == [(one - timedelta(hours=hours)).isoformat(timespec="seconds") for one in moments]


@given(
    text=st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,8})?", fullmatch=True
    )
)
@example(text="2024-01-01T24:00:01")
@example(text="2024-01-01 24:00:00.1")
@settings(max_examples=1000, deadline=None)
def test_a_date_that_does_not_exist_leaves_the_others_valid(text: str) -> None:
    assume(not re.fullmatch(r".{10}.24:00:00(\.0+)?", text))  # the midnight after the day
    try:
        expected = str(np.datetime64(datetime.fromisoformat(text.replace("T", " ")), "us"))[:19]
    except ValueError:
        expected = "NaT"

    read, faults = periods(pa.array(["2020-01-01 00:00:00", text]), "s")

    assert read == ["2020-01-01T00:00:00", expected]
    assert list(faults) == ([1] if expected == "NaT" else [])


def test_counts_may_grow_from_chunk_to_chunk() -> None:
    recipe = recipe_of()
    parser = PeriodParser(recipe.source.model_copy(update={"start": "2000-01-01"}), recipe.grid)

    read = [parser.parse(pa.array(chunk), None)[0] for chunk in ([3, 1], [200, 2])]

    assert [str(one)[:7] for one in np.concatenate(read)] == ["2000-03", "2000-01", "2016-08", "2000-02"]


def test_counts_end_with_the_calendar() -> None:
    read, faults = periods(pa.array([1, 8000, 50_000]), "YS", start="1900-01-01")

    assert read == ["1900-01-01T00:00:00", "9899-01-01T00:00:00", "NaT"]
    assert faults == {2: "is not a period: expected a count from 1"}


def test_sessions_are_counted_as_far_as_the_exchange_plans_them() -> None:
    recipe = recipe_of(frequency='B"\ncalendar = "XNYS')
    parser = PeriodParser(recipe.source.model_copy(update={"start": "2024-01-02"}), recipe.grid)

    read, faults = parser.parse(pa.array([1, 4, 10, 90_000]), None)

    assert [str(one)[:10] for one in read] == ["2024-01-02", "2024-01-05", "2024-01-16", "NaT"]
    assert list(faults) == [3]
