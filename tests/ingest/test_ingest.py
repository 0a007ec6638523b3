"""From rows to observations: what is taken in, and which rows are rejected by which rule."""

from __future__ import annotations

import random
import re
from datetime import date, timedelta

import numpy as np
import pytest

from pipeline.errors import BatchHeld, InvalidRecipe
from pipeline.ingest.reader import CLOCK_TOLERANCE
from tests.support.deliveries import Key, delivery_of, ingest_delivery, recipe_of, refusal
from tests.support.examples import NOW, months, small_recipe, small_values

Row = tuple[str, ...]


def whole(values: list[float] | None = None) -> list[Row]:
    chosen = small_values() if values is None else values
    return [(month, str(value)) for month, value in zip(months(len(chosen)), chosen, strict=True)]


def of_shops(rows: list[Row], *shops: str) -> list[Row]:
    return [(*row, shop) for row in rows for shop in shops]


def stored_values(rows: list[Row]) -> dict[Key, float]:
    return ingest_delivery(delivery_of(rows), small_recipe()).new


def test_the_message_names_the_first_fault_and_every_fault_is_kept() -> None:
    rows = whole()
    rows[30], rows[4] = ("x", "1"), (rows[4][0], "abc")

    error = refusal(delivery_of(rows), small_recipe())

    assert str(error).startswith("small.csv line 6, column sold")
    assert "2 of 40 rows rejected" in str(error)
    assert sorted(rejected.line or 0 for rejected in error.rejections) == [6, 32]


def test_a_long_text_of_a_rejected_row_is_shortened() -> None:
    (rejected,) = refusal(delivery_of([*whole()[:-1], ("2023-04-01", "x" * 1000)]), small_recipe()).rejections

    assert rejected.text == "x" * 200


def test_the_order_of_rows_does_not_matter() -> None:
    rows = of_shops(whole(), "a", "b")
    recipe = recipe_of('series = "shop"')

    shuffled = ingest_delivery(delivery_of(random.Random(1).sample(rows, len(rows))), recipe)

    assert shuffled.new == ingest_delivery(delivery_of(rows), recipe).new
    assert len(shuffled.new) == 80


def test_equal_values_for_one_period_count_once() -> None:
    ingested = ingest_delivery(delivery_of([*whole(), ("2020-05-01", "104.0"), ("2020-05-01", "104")]), small_recipe())

    assert (ingested.num_read, len(ingested.new), ingested.rejections) == (42, 40, ())


def test_different_values_for_one_period_are_all_rejected() -> None:
    rows = [*whole(), ("2020-05-01", "3"), ("2020-05-01", "104")]

    error = refusal(delivery_of(rows), small_recipe())

    rule = "is one of 2 different values for 2020-05-01 (lines 6, 42, 43)"
    assert f'small.csv line 6, column sold: "104" {rule}; 3 of 42 rows rejected' in str(error)
    assert [(rejected.line, rejected.column, rejected.text) for rejected in error.rejections] == [
        (6, "sold", "104"),
        (42, "sold", "3"),
        (43, "sold", "104"),
    ]
    assert {rejected.rule for rejected in error.rejections} == {rule}


def test_of_many_values_for_one_period_the_first_lines_are_listed() -> None:
    rows = [*whole(), *(("2020-05-01", str(n)) for n in range(10))]

    error = refusal(delivery_of(rows), small_recipe())

    assert "is one of 11 different values for 2020-05-01 (lines 6, 42, 43, 44, 45, …); 11 of 50 rows" in str(error)
    assert len(error.rejections) == 11


@pytest.mark.parametrize(("rule", "value"), [("first", 104.0), ("last", 5.0)])
def test_the_recipe_says_which_of_different_values_counts(rule: str, value: float) -> None:
    rows = [*whole(), ("2020-05-01", "3"), ("2020-05-01", "5")]

    ingested = ingest_delivery(delivery_of(rows), recipe_of(f'duplicates = "{rule}"'))

    assert ingested.new["small", "2020-05-01T00:00"] == value
    assert (len(ingested.new), ingested.rejections) == (40, ())


def test_the_same_period_of_two_series_is_no_duplicate() -> None:
    ingested = ingest_delivery(delivery_of(of_shops(whole(), "NA", "007")), recipe_of('series = "shop"'))

    assert {name for name, _ in ingested.new} == {"007", "NA"}
    assert len(ingested.new) == 80


@pytest.mark.parametrize(
    ("frequency", "periods"),
    [
        ("YS", ["2020", "2021", "2022"]),
        ("MS", ["2020-01", "2020-02", "2020-03"]),
        ("D", ["2020-02-28", "2020-02-29", "2020-03-01"]),
        ("h", ["2020-01-01 23:00", "2020-01-02T00:00", "2020-01-02 01:00"]),
        ("min", ["2020-01-01T23:59:00", "2020-01-02T00:00:00.000", "2020-01-02T00:01:00"]),
        ("h", ["2020-01-01T23:00:00Z", "2020-01-02T02:00:00+02:00", "2020-01-01T20:00:00-0500"]),
        ("h", ["2020-01-01T23:00Z", "2020-01-02 02:00+02", "2020-01-01 20:00:00.0-05:00"]),
    ],
)
def test_periods_are_read_in_any_iso_form_that_all_rows_share(frequency: str, periods: list[str]) -> None:
    recipe = recipe_of(frequency=frequency)

    ingested = ingest_delivery(delivery_of([(period, "1") for period in periods]), recipe)

    first = np.array([periods[0].rstrip("Z").replace(" ", "T")], "datetime64[us]")
    expected = np.append(first, recipe.grid.after(first[0], 2))
    assert ingested.periods == [str(period)[:16] for period in expected]


def test_the_recipe_may_give_the_format_of_periods() -> None:
    recipe = recipe_of('period_format = "%d.%m.%Y"')

    ingested = ingest_delivery(delivery_of([("01.01.2020", "1"), ("1.2.2020", "2")]), recipe)

    assert ingested.periods == ["2020-01-01T00:00", "2020-02-01T00:00"]
    message = str(refusal(delivery_of([("01.01.2020", "1"), ("2020-02-01", "2")]), recipe))
    assert 'line 3, column month: "2020-02-01" is not a period: expected the format "%d.%m.%Y"' in message


def test_periods_counted_from_one_begin_at_the_start() -> None:
    ingested = ingest_delivery(delivery_of([("2", "20"), ("1", "10"), ("03", "30")]), recipe_of('start = "1900-01-01"'))

    assert ingested.new == {
        ("small", "1900-01-01T00:00"): 10,
        ("small", "1900-02-01T00:00"): 20,
        ("small", "1900-03-01T00:00"): 30,
    }


@pytest.mark.parametrize("count", ["0", "-1", "1.0", "x", "", "²", "99999999", "1" * 30])
def test_a_text_that_is_no_count_from_one_is_rejected(count: str) -> None:
    error = refusal(delivery_of([("1", "10"), (count, "20")]), recipe_of('start = "1900-01-01"'))

    assert f'line 3, column month: "{count}" is not a period: expected a count from 1' in str(error)


def test_a_recipe_whose_start_is_no_date_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match='source.start is "January": expected a date, such as 1900-01-01'):
        recipe_of('start = "January"')


def test_a_period_may_lie_ahead_of_the_clock_by_the_tolerance_only() -> None:
    recipe = recipe_of(frequency="h")
    latest, ahead = ((NOW + CLOCK_TOLERANCE + timedelta(hours=n)).strftime("%Y-%m-%d %H:%M") for n in (0, 1))

    assert len(ingest_delivery(delivery_of([(latest, "1")]), recipe).new) == 1
    assert "lies in the future" in str(refusal(delivery_of([(latest, "1"), (ahead, "1")]), recipe))


def test_a_gap_is_held_with_its_periods() -> None:
    rows = whole()

    error = refusal(delivery_of(rows[:4] + rows[5:]), small_recipe())

    assert isinstance(error, BatchHeld)
    assert str(error) == (
        'small.csv: series "small" has no value for 1 period between its first and its last: 2020-05-01; expected gaps '
        "of at most max_gap = 0: add the values, or raise max_gap; nothing was ingested; if this is right, run "
        "`nextperiod ingest small --approve`"
    )
    assert [(one.rule, one.series, one.text) for one in error.rejections] == [("gap", "small", "2020-05-01")]


def test_a_gap_may_be_as_long_as_the_recipe_says() -> None:
    rows, recipe = whole(), recipe_of(top="max_gap = 2")

    assert len(ingest_delivery(delivery_of(rows[:4] + rows[6:]), recipe).new) == 38
    message = str(refusal(delivery_of(rows[:4] + rows[7:]), recipe))
    assert "no value for 3 periods between its first and its last: 2020-05-01, 2020-06-01, 2020-07-01" in message


def test_of_a_long_gap_the_first_periods_are_listed_and_of_several_series_the_first() -> None:
    rows = [
        *of_shops(whole(), "a"),
        *of_shops(whole()[:4] + whole()[20:], "c"),
        *of_shops(whole()[:4] + whole()[6:], "b"),
    ]

    message = str(refusal(delivery_of(rows), recipe_of('series = "shop"')))

    assert 'series "c" has no value for 16 periods' in message
    assert "2020-05-01, 2020-06-01, 2020-07-01, 2020-08-01, 2020-09-01, …; expected" in message


def test_a_file_that_follows_the_stored_values_is_accepted() -> None:
    rows = whole()

    ingested = ingest_delivery(delivery_of(rows[30:], incremental=True), small_recipe(), stored_values(rows[:30]))

    assert (len(ingested.new), ingested.longest) == (10, ("small", 40))


def test_a_file_that_leaves_a_gap_to_the_stored_values_is_held() -> None:
    rows = whole()

    error = refusal(delivery_of(rows[30:], incremental=True), small_recipe(), stored_values(rows[:29]))

    assert isinstance(error, BatchHeld)
    assert "no value for 1 period between its first and its last: 2022-06-01" in str(error)


def test_an_empty_value_is_a_gap_where_the_recipe_says_so() -> None:
    rows = whole()
    rows[4], rows[5] = (rows[4][0], "NaN"), (rows[5][0], "")

    ingested = ingest_delivery(delivery_of(rows), recipe_of('missing = "gap"', top="max_gap = 2"))

    assert (ingested.num_read, len(ingested.new), ingested.rejections) == (40, 38, ())
    message = str(refusal(delivery_of(rows), recipe_of('missing = "gap"', top="max_gap = 1")))
    assert "2 periods between" in message


def test_missing_values_at_both_ends_are_no_gaps() -> None:
    rows = [("2020-01-01", "NaN"), ("2020-02-01", "1"), ("2020-03-01", "2"), ("2020-04-01", "NaN")]

    assert ingest_delivery(delivery_of(rows), recipe_of('missing = "gap"')).values == [1, 2]


def test_a_file_of_gaps_only_is_refused() -> None:
    message = str(refusal(delivery_of([("2020-01-01", "NaN")]), recipe_of('missing = "gap"')))

    assert message == "small.csv contains no value: expected at least one"


def test_infinity_is_no_gap() -> None:
    rows = [*whole()[:-1], ("2023-04-01", "inf")]

    assert "is not finite" in str(refusal(delivery_of(rows), recipe_of('missing = "gap"')))


def test_as_many_rows_may_be_rejected_as_the_recipe_says() -> None:
    rows, recipe = whole(), recipe_of("max_rejected = 0.1")
    faulty = [*rows[:-4], *((month, "x") for month, _ in rows[-4:])]
    one_more = [*faulty[:-5], ("2022-12-01", "x"), *faulty[-4:]]

    ingested = ingest_delivery(delivery_of(faulty), recipe)

    assert (len(ingested.new), len(ingested.rejections)) == (36, 4)
    message = str(refusal(delivery_of(one_more), recipe))
    assert "5 of 40 rows rejected, at most 10 % allowed; nothing was ingested" in message


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
def test_the_value_of_a_rejected_row_is_not_used(row: Row, kept: int) -> None:
    ingested = ingest_delivery(delivery_of([*whole(), row]), recipe_of("max_rejected = 0.1"))

    assert len(ingested.rejections) == 41 - kept
    assert ingested.new == {
        ("small", f"{month}T00:00"): value for month, value in zip(months(kept), small_values(), strict=False)
    }


def test_only_what_is_new_or_revised_is_recorded() -> None:
    rows = whole()
    revised = [*rows[:-3], (rows[-3][0], "1.5"), *rows[-2:]]

    ingested = ingest_delivery(delivery_of(revised), small_recipe(), stored_values(rows[:-1]))

    assert ingested.new == {("small", "2023-04-01T00:00"): small_values()[-1]}
    assert ingested.revised == {("small", "2023-02-01T00:00"): 1.5}
    assert ingested.num_same == 38


def test_a_number_cut_short_at_the_end_of_a_file_is_refused() -> None:
    rows = [("2020-01-01", "589"), ("2020-02-01", "561"), ("2020-03-01", "640"), ("2020-04-01", "656")]
    cut, whole_line = [*rows, ("2020-05-01", "72")], [*rows, ("2020-05-01", "727")]

    error = refusal(delivery_of(cut, ended=False), small_recipe())

    assert not isinstance(error, BatchHeld)
    assert 'small.csv ends in line 6 without a newline, and "72" is further' in str(error)
    assert [(rejected.line, rejected.text, rejected.rule) for rejected in error.rejections] == [(6, "72", "cut")]
    assert len(ingest_delivery(delivery_of(whole_line, ended=False), small_recipe()).new) == 5
    assert len(ingest_delivery(delivery_of(cut), small_recipe()).new) == 5


def test_a_cut_number_is_compared_with_stored_values_of_its_own_series() -> None:
    rows = [("2020-01-01", "589"), ("2020-02-01", "561"), ("2020-03-01", "640"), ("2020-04-01", "656")]
    stored, recipe = stored_values(rows), recipe_of('series = "shop"')

    message = str(refusal(delivery_of([("2020-05-01", "72", "small")], ended=False, incremental=True), recipe, stored))

    assert '"72" is further' in message
    other = delivery_of([("2020-05-01", "72", "other")], ended=False, incremental=True)
    assert len(ingest_delivery(other, recipe, stored).new) == 1


def test_constant_values_are_accepted() -> None:
    rows = whole([5.0] * 40)

    assert len(ingest_delivery(delivery_of(rows), small_recipe()).new) == 40
    assert len(ingest_delivery(delivery_of(rows, ended=False), small_recipe()).new) == 40


def test_the_longest_history_includes_stored_values() -> None:
    rows = of_shops(whole()[:5], "a") + of_shops(whole()[3:7], "b")
    recipe = recipe_of('series = "shop"')

    stored = {("b", f"{month}T00:00"): value for month, value in zip(months(4), small_values(), strict=False)}

    assert ingest_delivery(delivery_of(rows), recipe).longest == ("a", 5)
    assert ingest_delivery(delivery_of(rows, incremental=True), recipe, stored).longest == ("b", 7)


def test_one_mistyped_year_is_named_before_a_grid_is_made_of_it() -> None:
    rows = [(f"2024-01-{day:02d} {hour:02d}:00", "1") for day in range(1, 11) for hour in range(24)]
    rows[100] = ("0203-01-02 00:00", "1")

    refused = refusal(delivery_of(rows), recipe_of(frequency="h"))

    assert re.search(
        r'spans about 15,\d{3},\d{3} periods with 240 rows, from "0203-01-02 00:00" in line 102 to '
        r'"2024-01-10 23:00" in line 241: is one of them mistyped\?',
        str(refused),
    )
    assert [(one.line, one.column, one.rule) for one in refused.rejections] == [
        (102, "month", "span"),
        (241, "month", "span"),
    ]


@pytest.mark.parametrize("period", ["0001-01-01 00:00:00+05:00", "9999-12-31 23:59:59-05:00", "0000-01-01 00:00:00Z"])
def test_an_instant_that_no_calendar_holds_is_rejected(period: str) -> None:
    rows = [("2024-01-01 00:00:00+00:00", "1"), (period, "2")]

    assert "is not a period" in str(refusal(delivery_of(rows), recipe_of(frequency="h")))


@pytest.mark.parametrize("period", ["0001-01-02", "0002-01-02"])
def test_a_day_before_the_calendar_begins_is_no_session(period: str) -> None:
    recipe = recipe_of(top='calendar = "XNYS"', frequency="B")

    message = str(refusal(delivery_of([(period, "1")]), recipe))

    assert re.search("is not a session of XNYS|is one of them mistyped", message)


def test_counts_may_begin_anywhere_and_leave_gaps() -> None:
    rows = [(str(count), "1") for count in [*range(101, 121), *range(123, 141)]]

    ingested = ingest_delivery(delivery_of(rows), recipe_of('start = "2000-01-01"', top="max_gap = 2"))

    assert len(ingested.new) == 38
    assert ingested.periods[0] == "2008-05-01T00:00"


def test_a_count_of_thousands_of_digits_is_rejected() -> None:
    rows = [("1", "1"), ("9" * 5000, "1")]

    message = str(refusal(delivery_of(rows), recipe_of('start = "2000-01-01"')))

    assert "is not a period: expected a count from 1" in message


def test_the_rejected_row_that_left_a_gap_is_named_and_kept() -> None:
    rows = whole()
    rows[20] = (rows[20][0], "abc")

    held = refusal(delivery_of(rows), recipe_of("max_rejected = 0.5"))

    assert isinstance(held, BatchHeld)
    assert '(line 22, column sold: "abc" is not a number' in str(held)
    assert [rejection.line for rejection in held.rejections] == [22, None]


def test_exactly_the_allowed_share_of_rows_may_be_rejected() -> None:
    rows = [(month, "1" if n >= 29 else "x") for n, month in enumerate(months(40))]
    rows += [(month, "1") for month in months(100)[40:]]

    ingested = ingest_delivery(delivery_of(rows), recipe_of("max_rejected = 0.29"), now=NOW.replace(year=2030))

    assert len(ingested.rejections) == 29


def test_a_batch_with_more_faults_than_can_be_kept_is_refused_whatever_is_allowed() -> None:
    rows = [(month, "x" if n > 20 else "1") for n, month in enumerate(months(40))]

    refused = refusal(delivery_of(rows), recipe_of("max_rejected = 0.9"), max_rejections=10)

    assert str(refused).startswith('small.csv line 23, column sold: "x" is not a number')
    assert str(refused).endswith("; more than 10 rows rejected; nothing was ingested")


@pytest.mark.parametrize("name", ["", "two\nlines", "a\u2028b", "\x7f"])
def test_a_series_needs_a_visible_name(name: str) -> None:
    refused = refusal(delivery_of([("2020-01-01", "1", name), ("2020-01-01", "1", "a")]), recipe_of('series = "shop"'))

    assert "line 2, column shop:" in str(refused)
    assert "is not a name of a series" in str(refused)


def test_a_series_without_any_value_is_not_created() -> None:
    rows = [("2020-01-01", "1", "a"), ("2020-01-01", "", "b"), ("2020-01-01", "x", "c")]

    ingested = ingest_delivery(delivery_of(rows), recipe_of('series = "shop"\nmissing = "gap"\nmax_rejected = 0.5'))

    assert ingested.new == {("a", "2020-01-01T00:00"): 1}
    assert ingested.longest == ("a", 1)


@pytest.mark.parametrize(
    ("frequency", "num_days", "num_advised"), [("D", 5, 1), ("D", 7, 0), ("B", 5, 0)], ids=["weekdays", "days", "B"]
)
def test_weekdays_in_a_recipe_of_days_are_answered_with_business_days(
    frequency: str, num_days: int, num_advised: int, caplog: pytest.LogCaptureFixture
) -> None:
    days = [day for n in range(40) if (day := date(2024, 1, 1) + timedelta(days=n)).weekday() < num_days]

    ingest_delivery(delivery_of([(str(day), "1") for day in days]), recipe_of(frequency=frequency))

    advice = f'small.csv: all {len(days)} days are Mondays to Fridays: set frequency = "B"'
    assert sum(message.startswith(advice) for message in caplog.messages) == num_advised
