"""From rows to observations: what is taken in, and which rows are rejected by which rule."""

from __future__ import annotations

import math
import random
import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BatchRefused, InvalidRecipe, NotEnoughHistory, counted
from pipeline.ingest import CLOCK_TOLERANCE, parse_value, refuse_short
from pipeline.ingest import clean as clean_by_contract
from pipeline.observations import CleanBatch, Observations, RawBatch, RawRow
from pipeline.recipe import CsvSource, Recipe, parse_recipe
from pipeline.sources.csv_file import contract_of
from pipeline.sources.integers import read_integers
from tests.examples import NOW, SMALL_RECIPE, months, small_recipe, small_values

NOTHING = Observations(
    names=(), series=np.array([], np.int64), period=np.array([], "datetime64[us]"), value=np.array([])
)


def clean(raw: RawBatch, recipe: Recipe, known: Observations, *, now: datetime) -> CleanBatch:
    """Rows checked against the contract that the recipe's source states."""
    contract = contract_of(recipe.source) if isinstance(recipe.source, CsvSource) else raw.contract
    return clean_by_contract(replace(raw, contract=contract), recipe, known, now=now)


def recipe_of(source: str = "", *, top: str = "", frequency: str = '"MS"') -> Recipe:
    text = f"{top}\n{SMALL_RECIPE.format(source=source)}".replace('"MS"', frequency)
    return parse_recipe(text, where="small.toml", folder=Path())


def batch_of(*rows: tuple[str, str] | tuple[str, str, str], ended: bool = True) -> RawBatch:
    """Rows of (period, value) or (period, value, series), on the lines after a header."""
    made = [
        RawRow(line=line, period=row[0], value=row[1], series=row[2] if len(row) > 2 else "small")
        for line, row in enumerate(rows, start=2)
    ]
    return RawBatch(source="small.csv", content_hash="any", rows=tuple(made), ended=ended)


def whole(values: list[float] | None = None) -> list[tuple[str, str]]:
    chosen = small_values() if values is None else values
    return [(month, str(value)) for month, value in zip(months(len(chosen)), chosen, strict=True)]


def taken_in(batch: CleanBatch) -> dict[tuple[str, str], float]:
    observed = batch.observations
    return {
        (observed.names[s], str(period)[:16]): value
        for s, period, value in zip(observed.series, observed.period, observed.value, strict=True)
    }


def refusal(raw: RawBatch, recipe: Recipe) -> BatchRefused:
    with pytest.raises(BatchRefused) as refused:
        clean(raw, recipe, NOTHING, now=NOW)
    return refused.value


def known_of(rows: list[tuple[str, str]]) -> Observations:
    return clean(batch_of(*rows), small_recipe(), NOTHING, now=NOW).observations


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
    assert parse_value(text, 1e15) == (value, None)


def test_a_number_comes_back_from_its_text() -> None:
    generator = random.Random(0)

    for _ in range(1000):
        value = generator.uniform(-1, 1) * 10 ** generator.randint(-10, 14)
        assert parse_value(repr(value), 1e15) == (value, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        *((text, "is missing") for text in ("", "NaN", "nan", "NA", "null", "None")),
        *((text, "is not finite") for text in ("inf", "-inf", "Infinity", "+INF", "1e999", "-1e999", "9" * 400)),
        *((text, "is larger than 1e+15, the recipe's source.limit") for text in ("1e300", "-1e300", "1.1e15")),
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
                "1%",
                "€1",
            )
        ),
    ],
)
def test_what_is_no_usable_number_is_named(text: str, fault: str) -> None:
    value, found = parse_value(text, 1e15)

    assert math.isnan(value)
    assert found == fault


def test_the_largest_magnitude_is_the_recipe_s() -> None:
    assert parse_value("1000", 1000.0) == (1000.0, None)
    assert parse_value("1000.1", 1000.0)[1] == "is larger than 1000, the recipe's source.limit"


@pytest.mark.parametrize(
    ("text", "column", "rule"),
    [
        ("abc", "sold", "is not a number: expected digits, a point and an exponent only"),
        ("NaN", "sold", "is missing"),
        ("", "sold", "is missing"),
        ("inf", "sold", "is not finite"),
        ("1e300", "sold", "is larger than 1e+15, the recipe's source.limit"),
        ("05/01/2020", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2020-05", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2020-05-01 00:00", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2020-05-01T00:00:00Z", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2020-05-32", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("", "month", "is not a period: expected YYYY-MM-DD, as in the first row"),
        ("2020-05-02", "month", 'is not on the frequency "MS"'),
        ("2029-01-01", "month", "lies in the future"),
        ("9999-12-01", "month", "lies in the future"),
    ],
)
def test_one_faulty_row_refuses_the_file_with_its_line_column_text_and_rule(text: str, column: str, rule: str) -> None:
    rows = whole()
    rows[4] = (rows[4][0], text) if column == "sold" else (text, rows[4][1])

    error = refusal(batch_of(*rows), small_recipe())

    assert str(error) == (
        f'small.csv line 6, column {column}: "{text}" {rule}; '
        "1 of 40 rows refused, at most 0 % allowed, nothing was taken in"
    )
    (rejected,) = error.rejections
    assert (rejected.line, rejected.column, rejected.series, rejected.text) == (6, column, "small", text)
    assert rejected.rule == rule


def test_the_message_names_the_first_fault_and_every_fault_is_kept() -> None:
    rows = whole()
    rows[30], rows[4] = ("x", "1"), (rows[4][0], "abc")

    error = refusal(batch_of(*rows), small_recipe())

    assert str(error).startswith("small.csv line 6, column sold")
    assert "2 of 40 rows refused" in str(error)
    assert sorted(rejected.line or 0 for rejected in error.rejections) == [6, 32]


def test_a_long_text_is_kept_shortened() -> None:
    (rejected,) = refusal(batch_of(*whole()[:-1], ("2023-04-01", "x" * 1000)), small_recipe()).rejections

    assert rejected.text == "x" * 200


def test_rows_out_of_order_are_the_same_observations() -> None:
    rows = whole()
    shuffled = random.Random(1).sample(rows, len(rows))

    assert taken_in(clean(batch_of(*shuffled), small_recipe(), NOTHING, now=NOW)) == taken_in(
        clean(batch_of(*rows), small_recipe(), NOTHING, now=NOW)
    )


def test_equal_values_for_one_period_count_once() -> None:
    batch = clean(batch_of(*whole(), ("2020-05-01", "104.0"), ("2020-05-01", "104")), small_recipe(), NOTHING, now=NOW)

    assert (batch.num_read, batch.num_new, batch.rejections) == (42, 40, ())


def test_different_values_for_one_period_are_all_rejected() -> None:
    error = refusal(batch_of(*whole(), ("2020-05-01", "3"), ("2020-05-01", "104")), small_recipe())

    assert 'small.csv line 6, column sold: "104.0" is one of 2 different values for 2020-05-01' in str(error)
    assert {(rejected.line, rejected.text) for rejected in error.rejections} >= {(6, "104.0"), (42, "3")}


@pytest.mark.parametrize(("rule", "value"), [("first", 104.0), ("last", 3.0)])
def test_which_of_different_values_counts_can_be_said(rule: str, value: float) -> None:
    batch = clean(batch_of(*whole(), ("2020-05-01", "3")), recipe_of(f'duplicates = "{rule}"'), NOTHING, now=NOW)

    assert taken_in(batch)["small", "2020-05-01T00:00"] == value
    assert batch.num_new == 40


def test_the_same_period_of_two_series_is_no_duplicate() -> None:
    rows = [(*row, shop) for row in whole() for shop in ("NA", "007")]

    batch = clean(batch_of(*rows), recipe_of('series = "shop"'), NOTHING, now=NOW)

    assert batch.observations.names == ("007", "NA")
    assert batch.num_new == 80


@pytest.mark.parametrize(
    ("frequency", "periods"),
    [
        ('"YS"', ["2020", "2021", "2022"]),
        ('"MS"', ["2020-01", "2020-02", "2020-03"]),
        ('"D"', ["2020-02-28", "2020-02-29", "2020-03-01"]),
        ('"h"', ["2020-01-01 23:00", "2020-01-02T00:00", "2020-01-02 01:00"]),
        ('"min"', ["2020-01-01T23:59:00", "2020-01-02T00:00:00.000", "2020-01-02T00:01:00"]),
        ('"h"', ["2020-01-01T23:00:00Z", "2020-01-02T02:00:00+02:00", "2020-01-01T20:00:00-0500"]),
    ],
)
def test_periods_are_read_in_any_iso_form_that_all_rows_share(frequency: str, periods: list[str]) -> None:
    batch = clean(batch_of(*((period, "1") for period in periods)), recipe_of(frequency=frequency), NOTHING, now=NOW)

    expected = np.array([period[:19].replace(" ", "T") for period in periods[:1]], "datetime64[us]")
    steps = recipe_of(frequency=frequency).grid.after(expected[0], 2)
    np.testing.assert_array_equal(batch.observations.period, np.append(expected, steps))


def test_periods_may_have_a_form_of_their_own() -> None:
    recipe = recipe_of('period_format = "%d.%m.%Y"')

    batch = clean(batch_of(("01.01.2020", "1"), ("1.2.2020", "2")), recipe, NOTHING, now=NOW)

    assert list(taken_in(batch)) == [("small", "2020-01-01T00:00"), ("small", "2020-02-01T00:00")]
    message = str(refusal(batch_of(("01.01.2020", "1"), ("2020-02-01", "2")), recipe))
    assert 'line 3, column month: "2020-02-01" is not a period: expected the format "%d.%m.%Y"' in message


def test_periods_counted_from_one_begin_at_the_start() -> None:
    recipe = recipe_of('start = "1900-01-01"')

    batch = clean(batch_of(("2", "20"), ("1", "10"), ("03", "30")), recipe, NOTHING, now=NOW)

    assert taken_in(batch) == {
        ("small", "1900-01-01T00:00"): 10,
        ("small", "1900-02-01T00:00"): 20,
        ("small", "1900-03-01T00:00"): 30,
    }


@pytest.mark.parametrize("count", ["0", "-1", "1.0", "x", "", "²"])
def test_what_is_no_count_from_one_is_rejected(count: str) -> None:
    error = refusal(batch_of(("1", "10"), (count, "20")), recipe_of('start = "1900-01-01"'))

    assert f'line 3, column month: "{count}" is not a period: expected a count from 1' in str(error)


def test_a_start_that_is_no_date_is_refused_with_the_recipe() -> None:
    with pytest.raises(InvalidRecipe, match='source.start is "January": expected a date, such as 1900-01-01'):
        recipe_of('start = "January"')


@pytest.mark.parametrize("day", ["2024-01-06", "2024-01-15"])
def test_a_weekend_or_a_holiday_is_no_session(day: str) -> None:
    recipe = recipe_of(frequency='"B"\ncalendar = "XNYS"')

    error = refusal(batch_of(("2024-01-05", "1"), (day, "2"), ("2024-01-08", "3")), recipe)

    assert f'line 3, column month: "{day}" is no session of XNYS' in str(error)


def test_sessions_need_no_weekends_and_no_holidays() -> None:
    recipe = recipe_of(frequency='"B"\ncalendar = "XNYS"')

    batch = clean(batch_of(("2024-01-12", "1"), ("2024-01-16", "2"), ("2024-01-17", "3")), recipe, NOTHING, now=NOW)

    assert batch.num_new == 3


def test_a_period_may_lie_ahead_of_the_clock_by_the_tolerance_only() -> None:
    recipe = recipe_of(frequency='"h"')
    latest = (NOW + CLOCK_TOLERANCE).strftime("%Y-%m-%d %H:%M")
    ahead = (NOW + CLOCK_TOLERANCE + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M")

    assert clean(batch_of((latest, "1")), recipe, NOTHING, now=NOW).num_new == 1
    assert "lies in the future" in str(refusal(batch_of((latest, "1"), (ahead, "1")), recipe))


def test_a_gap_is_refused_with_its_periods() -> None:
    rows = whole()
    error = refusal(batch_of(*rows[:4], *rows[5:]), small_recipe())

    assert 'series "small" has no value for 1 period between its first and its last: 2020-05-01' in str(error)
    assert "expected gaps of at most max_gap = 0: add the values, or raise max_gap" in str(error)
    assert [(rejected.rule, rejected.series) for rejected in error.rejections] == [("gap", "small")]


def test_a_gap_may_be_as_long_as_the_recipe_says() -> None:
    rows = whole()

    assert clean(batch_of(*rows[:4], *rows[6:]), recipe_of(top="max_gap = 2"), NOTHING, now=NOW).num_new == 38
    message = str(refusal(batch_of(*rows[:4], *rows[7:]), recipe_of(top="max_gap = 2")))
    assert "no value for 3 periods between its first and its last: 2020-05-01, 2020-06-01, 2020-07-01" in message


def test_a_file_that_fills_the_gap_to_what_is_known_is_taken_in() -> None:
    rows = whole()

    batch = clean(batch_of(*rows[30:]), small_recipe(), known_of(rows[:30]), now=NOW)

    assert (batch.num_new, batch.longest_length) == (10, 40)


def test_a_file_that_leaves_a_gap_to_what_is_known_is_refused() -> None:
    rows = whole()

    with pytest.raises(BatchRefused, match=r"no value for 1 period .*2022-06-01"):
        clean(batch_of(*rows[30:]), small_recipe(), known_of(rows[:29]), now=NOW)


def test_an_empty_value_is_a_gap_where_the_recipe_says_so() -> None:
    rows = whole()
    rows[4], rows[5] = (rows[4][0], "NaN"), (rows[5][0], "")

    batch = clean(batch_of(*rows), recipe_of('missing = "gap"', top="max_gap = 2"), NOTHING, now=NOW)

    assert (batch.num_read, batch.num_new, batch.rejections) == (40, 38, ())
    assert "2 periods between" in str(refusal(batch_of(*rows), recipe_of('missing = "gap"', top="max_gap = 1")))


def test_gaps_at_both_ends_are_no_gaps() -> None:
    rows = [("2020-01-01", "NaN"), ("2020-02-01", "1"), ("2020-03-01", "2"), ("2020-04-01", "NaN")]

    batch = clean(batch_of(*rows), recipe_of('missing = "gap"'), NOTHING, now=NOW)

    assert list(taken_in(batch).values()) == [1, 2]


def test_a_file_of_gaps_only_is_refused() -> None:
    message = str(refusal(batch_of(("2020-01-01", "NaN")), recipe_of('missing = "gap"')))

    assert message == "small.csv gives no value: expected at least one"


def test_infinity_is_no_gap() -> None:
    assert "is not finite" in str(refusal(batch_of(*whole()[:-1], ("2023-04-01", "inf")), recipe_of('missing = "gap"')))


def test_as_many_rows_may_be_rejected_as_the_recipe_says() -> None:
    faulty = [*whole()[:-4], *((month, "x") for month in months(40)[-4:])]

    batch = clean(batch_of(*faulty), recipe_of("max_rejected = 0.1"), NOTHING, now=NOW)

    assert (batch.num_new, len(batch.rejections)) == (36, 4)
    message = str(refusal(batch_of(*faulty[:-5], ("2022-12-01", "x"), *faulty[-4:]), recipe_of("max_rejected = 0.1")))
    assert "5 of 40 rows refused, at most 10 % allowed, nothing was taken in" in message


@pytest.mark.parametrize(
    ("row", "kept"),
    [
        (("2023-04-15", "9"), 40),
        (("2027-01-01", "9"), 40),
        (("2023-04", "9"), 40),
        (("2023-05-01", "x"), 40),
        (("2023-04-01", "9"), 39),
    ],
    ids=["off the frequency", "the future", "another format", "no number", "another value for a period"],
)
def test_a_row_that_is_rejected_is_not_taken_in(row: tuple[str, str], kept: int) -> None:
    batch = clean(batch_of(*whole(), row), recipe_of("max_rejected = 0.1"), NOTHING, now=NOW)

    assert len(batch.rejections) == 41 - kept
    assert taken_in(batch) == dict(
        zip((("small", f"{month}T00:00") for month in months(kept)), small_values()[:kept], strict=True)
    )


def test_only_what_is_new_or_revised_is_recorded() -> None:
    rows = whole()
    revised = [*rows[:-3], (rows[-3][0], "1.5"), *rows[-2:]]

    batch = clean(batch_of(*revised), small_recipe(), known_of(rows[:-1]), now=NOW)

    assert (batch.num_new, batch.num_revised, batch.num_same) == (1, 1, 38)
    assert taken_in(batch) == {("small", "2023-02-01T00:00"): 1.5, ("small", "2023-04-01T00:00"): small_values()[-1]}


def test_a_number_cut_short_at_the_end_of_a_file_is_refused() -> None:
    rows = [("2020-01-01", "589"), ("2020-02-01", "561"), ("2020-03-01", "640"), ("2020-04-01", "656")]

    error = refusal(batch_of(*rows, ("2020-05-01", "72"), ended=False), small_recipe())

    assert 'small.csv ends in line 6 without a newline, and "72" is further' in str(error)
    assert [(rejected.line, rejected.text, rejected.rule) for rejected in error.rejections] == [(6, "72", "cut")]
    assert clean(batch_of(*rows, ("2020-05-01", "727"), ended=False), small_recipe(), NOTHING, now=NOW).num_new == 5
    assert clean(batch_of(*rows, ("2020-05-01", "72")), small_recipe(), NOTHING, now=NOW).num_new == 5


def test_the_cut_is_judged_by_its_own_series_and_by_what_is_known() -> None:
    known = known_of([("2020-01-01", "589"), ("2020-02-01", "561"), ("2020-03-01", "640"), ("2020-04-01", "656")])
    recipe = recipe_of('series = "shop"')

    with pytest.raises(BatchRefused, match='"72" is further'):
        clean(batch_of(("2020-05-01", "72", "small"), ended=False), recipe, known, now=NOW)
    assert clean(batch_of(("2020-05-01", "72", "other"), ended=False), recipe, known, now=NOW).num_new == 1


def test_constant_values_are_taken_in() -> None:
    rows = whole([5.0] * 40)

    assert clean(batch_of(*rows), small_recipe(), NOTHING, now=NOW).num_new == 40
    assert clean(batch_of(*rows, ended=False), small_recipe(), NOTHING, now=NOW).num_new == 40


def test_the_longest_history_counts_what_was_known_before() -> None:
    batch = clean(
        batch_of(*((*row, "a") for row in whole()[:5]), *((*row, "b") for row in whole()[:7])),
        recipe_of('series = "shop"'),
        NOTHING,
        now=NOW,
    )

    assert (batch.longest_series, batch.longest_length) == ("b", 7)


@pytest.mark.parametrize(("has", "lacking"), [(0, 11), (1, 10), (10, 1)])
def test_a_history_shorter_than_context_and_horizon_says_how_many_are_missing(has: int, lacking: int) -> None:
    with pytest.raises(NotEnoughHistory) as short:
        refuse_short("small", has, small_recipe())

    assert str(short.value) == (
        f'series "small" has {counted(has, "observation")}, context 8 + horizon 3 need 11: {lacking} are missing; '
        "add them, or shorten model.context or horizon"
    )


@pytest.mark.parametrize("has", [11, 12])
def test_a_history_of_context_and_horizon_is_long_enough(has: int) -> None:
    refuse_short("small", has, small_recipe())


def test_random_integers_are_the_same_for_the_same_seed() -> None:
    text = 'name = "n"\nfrequency = "D"\nhorizon = 2\n[source]\nkind = "integers"\ncount = 50\nseed = {}\n'
    recipes = [parse_recipe(text.format(seed), where="n.toml", folder=Path()) for seed in (0, 0, 1)]

    first, again, other = (read_integers(recipe) for recipe in recipes)

    assert first == again
    assert first.content_hash != other.content_hash
    batch = clean(first, recipes[0], NOTHING, now=NOW)
    assert set(batch.observations.value) == set(range(10))
    assert str(batch.observations.period[0])[:10] == "2000-01-01"
    assert batch.num_new == 50


def test_one_mistyped_year_is_named_before_a_grid_is_made_of_it() -> None:
    rows = [(f"2024-01-{day:02d} {hour:02d}:00", "1") for day in range(1, 11) for hour in range(24)]
    rows[100] = ("0203-01-02 00:00", "1")

    refused = refusal(batch_of(*rows), recipe_of(frequency='"h"'))

    assert re.search(
        r'spans about 15,\d{3},\d{3} periods with 240 rows, from "0203-01-02 00:00" in line 102', str(refused)
    )


@pytest.mark.parametrize("period", ["0001-01-01 00:00:00+05:00", "9999-12-31 23:59:59-05:00"])
def test_an_instant_that_no_calendar_holds_is_rejected(period: str) -> None:
    rows = [("2024-01-01 00:00:00+00:00", "1"), (period, "2")]

    assert "is not a period" in str(refusal(batch_of(*rows), recipe_of(frequency='"h"')))


@pytest.mark.parametrize("period", ["0001-01-02", "0002-01-02"])
def test_a_day_before_all_calendars_is_no_session(period: str) -> None:
    recipe = recipe_of(top='calendar = "XNYS"', frequency='"B"')

    assert re.search("is no session of XNYS|is one of them mistyped", str(refusal(batch_of((period, "1")), recipe)))


def test_counts_begin_anywhere_and_leave_gaps() -> None:
    rows = [(str(count), "1") for count in [*range(101, 121), *range(123, 141)]]

    batch = clean(batch_of(*rows), recipe_of('start = "2000-01-01"', top="max_gap = 2"), NOTHING, now=NOW)

    assert len(batch.observations) == 38
    assert str(batch.observations.period[0])[:10] == "2008-05-01"


def test_an_endless_count_is_rejected() -> None:
    rows = [("1", "1"), ("9" * 5000, "1")]

    assert "is not a period: expected a count from 1" in str(
        refusal(batch_of(*rows), recipe_of('start = "2000-01-01"'))
    )


def test_the_row_that_left_a_gap_is_named_and_kept() -> None:
    rows = whole()
    rows[20] = (rows[20][0], "abc")

    refused = refusal(batch_of(*rows), recipe_of("max_rejected = 0.5"))

    assert 'line 22, column sold: "abc" is not a number' in str(refused)
    assert [rejection.line for rejection in refused.rejections] == [22, None]


def test_exactly_the_share_that_is_allowed_is_allowed() -> None:
    rows = [(month, "1" if n >= 29 else "x") for n, month in enumerate(months(40))]
    rows += [(month, "1") for month in months(100)[40:]]
    later = NOW.replace(year=2030)

    batch = clean(batch_of(*rows), recipe_of("max_rejected = 0.29"), NOTHING, now=later)

    assert len(batch.rejections) == 29


@pytest.mark.parametrize("text", ["１２", "١٠٤"])
def test_digits_of_other_scripts_are_no_number(text: str) -> None:
    assert parse_value(text, 1e15)[1] == "is not a number: expected digits, a point and an exponent only"


@pytest.mark.parametrize("name", ["", "two\nlines"])
def test_a_series_needs_a_name_that_can_be_seen(name: str) -> None:
    refused = refusal(batch_of(("2020-01-01", "1", name)), small_recipe())

    assert "is not a name of a series" in str(refused)
