"""Periods as people write them are read where the whole column shows the style, and asked for where it does not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.config.loader import load_recipe
from pipeline.config.sources import PERIOD_STYLES
from pipeline.errors import InvalidRecipe
from pipeline.ingest.period_formats import STYLES
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from tests.support.deliveries import delivery_of, ingest_delivery, recipe_of, refusal

CASES = Path(__file__).parents[1] / "cases"


def read_periods(
    texts: Sequence[Any], frequency: str, source: str = "", *, kind: pa.DataType | None = None
) -> list[str]:
    """The periods of a column, as they are stored."""
    rows = [(text, str(n)) for n, text in enumerate(texts)]
    delivery = delivery_of(rows, types=[kind or pa.string(), pa.string()])
    return ingest_delivery(delivery, recipe_of(source, frequency=frequency)).periods


def days(first: str, count: int, form: str) -> list[str]:
    return [(date.fromisoformat(first) + timedelta(days=n)).strftime(form) for n in range(count)]


def months(form: str, count: int = 24) -> list[str]:
    return [date(2015 + n // 12, n % 12 + 1, 1).strftime(form) for n in range(count)]


def hours(count: int) -> list[datetime]:
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(count)]


@pytest.mark.parametrize(
    ("case", "first", "last"),
    [
        ("period-epoch-milliseconds", "2019-01-01T00:00", "2024-12-01T00:00"),
        ("period-excel-serial-days", "2019-01-01T00:00", "2024-12-01T00:00"),
        ("period-quarter-2005-Q1", "2005-01-01T00:00", "2022-10-01T00:00"),
    ],
)
def test_a_file_with_such_periods_is_read_at_the_first_try(case: str, first: str, last: str) -> None:
    recipe = load_recipe(str(CASES / case / "recipe.toml"), CASES)

    with fetch(recipe, FetchContext(now=datetime(2026, 1, 8, tzinfo=UTC))) as delivery:
        ingested = ingest_delivery(delivery, recipe)

    assert (ingested.periods[0], ingested.periods[-1], len(ingested.new)) == (first, last, 72)
    assert ingested.rejections == ()


@pytest.mark.parametrize("form", ["{y}-Q{q}", "{y}Q{q}", "{y} Q{q}", "Q{q} {y}", "Q{q}/{y}", "q{q}-{y}", "{y}-q{q}"])
def test_quarters(form: str) -> None:
    texts = [form.format(y=2005 + n // 4, q=n % 4 + 1) for n in range(9)]

    assert read_periods(texts, "QS")[:2] == ["2005-01-01T00:00", "2005-04-01T00:00"]
    assert read_periods(texts, "QE")[:2] == ["2005-03-31T00:00", "2005-06-30T00:00"]
    assert read_periods(texts, "QE")[-1] == "2007-03-31T00:00"


@pytest.mark.parametrize(
    ("frequency", "first"), [("W-MON", "2016-01-04"), ("W-SUN", "2016-01-10"), ("W-THU", "2016-01-07")]
)
@pytest.mark.parametrize("form", ["2016-W{:02d}", "2016W{:02d}"])
def test_iso_weeks_have_one_day_of_every_weekly_frequency(form: str, frequency: str, first: str) -> None:
    assert read_periods([form.format(week) for week in range(1, 30)], frequency)[0] == f"{first}T00:00"


@pytest.mark.parametrize("form", ["2016-W{:02d}-1", "2016W{:02d}1"])
def test_days_of_iso_weeks(form: str) -> None:
    assert read_periods([form.format(week) for week in range(1, 9)], "W-MON")[:2] == [
        "2016-01-04T00:00",
        "2016-01-11T00:00",
    ]


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m",
        "%Y%m",
        "%YM%m",
        "%Y-M%m",
        "%Y/%m",
        "%m/%Y",
        "%b %Y",
        "%B %Y",
        "%b-%Y",
        "%Y %b",
        "%Y-%m-%d",
        "%Y%m%d",
        "%b-%y",
        "%b %y",
        "%d-%b-%y",
    ],
)
def test_months(form: str) -> None:
    assert read_periods(months(form), "MS")[:2] == ["2015-01-01T00:00", "2015-02-01T00:00"]


@pytest.mark.parametrize("form", ["%Y-%m", "%Y%m", "%YM%m", "%b %Y"])
def test_months_are_named_by_their_last_day_where_the_frequency_does_so(form: str) -> None:
    assert read_periods(months(form), "ME")[:2] == ["2015-01-31T00:00", "2015-02-28T00:00"]
    assert read_periods(months(form), "BME")[0] == "2015-01-30T00:00"


@pytest.mark.parametrize(("frequency", "first"), [("YS", "2001-01-01"), ("YE", "2001-12-31"), ("YS-JUL", "2001-07-01")])
def test_years(frequency: str, first: str) -> None:
    assert read_periods([str(year) for year in range(2001, 2012)], frequency)[0] == f"{first}T00:00"
    assert read_periods(list(range(2001, 2012)), frequency, kind=pa.int32())[0] == f"{first}T00:00"


@pytest.mark.parametrize("factor", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("kind", [pa.string(), pa.int64()])
def test_epochs(factor: int, kind: pa.DataType) -> None:
    seconds = [int(hour.timestamp()) * factor for hour in hours(30)]
    stamps = [str(stamp) for stamp in seconds] if kind == pa.string() else seconds

    assert read_periods(stamps, "h", kind=kind)[:2] == ["2024-01-01T00:00", "2024-01-01T01:00"]


def test_epochs_as_floating_point() -> None:
    assert read_periods([hour.timestamp() * 1000 for hour in hours(5)], "h", kind=pa.float64())[1] == "2024-01-01T01:00"


def test_epochs_are_instants_even_where_a_zone_is_given() -> None:
    stamps = [str(int(hour.timestamp())) for hour in hours(30)]
    assert read_periods(stamps, "h", 'zone = "Europe/Paris"')[0] == "2024-01-01T00:00"

    midnights = [str(int(datetime(2023, 12, 31, 23, tzinfo=UTC).timestamp()) + 86400 * n) for n in range(9)]
    assert read_periods(midnights, "D", 'zone = "Europe/Paris"')[0] == "2024-01-01T00:00"


def test_fractions_of_days_of_excel_are_hours() -> None:
    serials = [repr(45292 + n / 24) for n in range(50)]
    assert read_periods(serials, "h")[:3] == ["2024-01-01T00:00", "2024-01-01T01:00", "2024-01-01T02:00"]
    assert read_periods([str(45292 + n) for n in range(20)], "D")[0] == "2024-01-01T00:00"


@pytest.mark.parametrize(
    ("form", "right"),
    [("%m/%d/%Y", "2024-01-01"), ("%d/%m/%Y", "2024-01-01"), ("%d.%m.%Y", "2024-01-01"), ("%d-%m-%Y", "2024-01-01")]
    + [
        (form, "2024-01-01")
        for form in ("%m/%d/%y", "%d/%m/%y", "%y/%m/%d", "%d-%m-%y", "%y-%m-%d", "%d.%m.%y", "%d-%b-%y")
    ],
)
def test_a_day_after_the_twelfth_proves_the_order(form: str, right: str) -> None:
    read = read_periods(days("2024-01-01", 40, form), "D")

    assert (read[0], read[-1]) == (f"{right}T00:00", "2024-02-09T00:00")


def test_the_grid_proves_the_order_too() -> None:
    assert read_periods(months("%m/%d/%Y"), "MS")[1] == "2015-02-01T00:00"
    assert read_periods(months("%d/%m/%Y"), "MS")[1] == "2015-02-01T00:00"


@pytest.mark.parametrize(
    ("form", "keys"),
    [
        ("%m/%d/%Y", '"%m/%d/%Y" or "%d/%m/%Y"'),
        ("%d.%m.%Y", '"%d.%m.%Y" or "%m.%d.%Y"'),
        ("%m-%d-%Y", '"%m-%d-%Y" or "%d-%m-%Y"'),
        ("%d/%m/%y", '"%m/%d/%y" or "%d/%m/%y" or "%y/%m/%d"'),
    ],
)
def test_an_order_that_nothing_proves_is_asked_for(form: str, keys: str) -> None:
    texts = days("2024-01-01", 12, form)

    error = refusal(delivery_of([(text, "1") for text in texts]), recipe_of(frequency="D"))

    assert str(error) == (
        f'small.csv: column month: "{texts[0]}" and 11 other periods can be read as {keys}, and the whole column does '
        "not show which: set source.period_format to the right one; nothing was ingested"
    )
    assert read_periods(texts, "D", f'period_format = "{form}"')[1] == "2024-01-02T00:00"


@pytest.mark.parametrize(
    "form",
    ["%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M", "%d %b %Y %H:%M:%S", "%b %d, %Y %H:%M", "%Y/%m/%d %H:%M"],
)
def test_times_of_days(form: str) -> None:
    texts = [hour.strftime(form) for hour in hours(24 * 20)]

    assert read_periods(texts, "h")[13] == "2024-01-01T13:00"


@pytest.mark.parametrize("text", ["2024-01-{:02d} 24:00", "2024-01-{:02d}T24:00:00"])
def test_24_00_is_the_midnight_after_the_day(text: str) -> None:
    usual = text.replace("24:00", "12:00")
    rows = [usual.format(1), text.format(1), usual.format(2), text.format(2)]

    assert read_periods(rows, "12h") == ["2024-01-01T12:00", "2024-01-02T00:00", "2024-01-02T12:00", "2024-01-03T00:00"]


@pytest.mark.parametrize(
    ("form", "end"),
    [
        ("%Y-%m-%d %H:%M", " - %H:%M"),
        ("%Y-%m-%dT%H:%M", "/%Y-%m-%dT%H:%M"),
        ("%d.%m.%Y %H:%M", " - %d.%m.%Y %H:%M"),
    ],
)
def test_an_interval_is_the_period_that_begins_at_its_start(form: str, end: str) -> None:
    texts = [hour.strftime(form) + (hour + timedelta(hours=1)).strftime(end) for hour in hours(24 * 14)]

    assert read_periods(texts, "h")[:2] == ["2024-01-01T00:00", "2024-01-01T01:00"]


def test_one_wrong_text_is_one_rejected_row_wherever_it_stands() -> None:
    texts = [f"{2005 + n // 4}-Q{n % 4 + 1}" for n in range(60)]
    for place in (0, 30, 59):
        rows = [(text if n != place else "2005-Q7", "1") for n, text in enumerate(texts)]

        ingested = ingest_delivery(delivery_of(rows), recipe_of(frequency="QS", top="max_gap = 1"))

        assert len(ingested.new) == 59
        (rejection,) = ingested.rejections
        assert (rejection.line, rejection.text) == (place + 2, "2005-Q7")
        assert rejection.rule == "is not a period: expected YYYY-Qn, such as 2005-Q1"


def test_the_style_that_was_found_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read_periods(months("%b %Y"), "MS")

    assert "column month: periods are read as Mon YYYY, such as Jan 2016" in caplog.messages


@pytest.mark.parametrize("texts", [["abc", "def", "ghi"], ["12", "13", "14"], ["9999999", "9999998", "9999997"]])
def test_what_has_no_style_is_rejected_with_the_way_out(texts: list[str]) -> None:
    error = refusal(delivery_of([(text, "1") for text in texts]), recipe_of(frequency="D"))

    assert "is not a period: expected ISO 8601, such as 2026-01-31, or source.period_format in the recipe" in str(error)


def test_every_named_style_exists_and_can_be_asked_for() -> None:
    assert {style.key for style in STYLES if style.key and not style.key.startswith("%")} == set(PERIOD_STYLES)
    assert read_periods(["2005-Q1", "2005-Q2"], "QS", 'period_format = "quarter"')[1] == "2005-04-01T00:00"


def test_years_of_two_digits_lie_between_1969_and_2068() -> None:
    assert read_periods(["Jan-69", "Jan-00", "Jan-68"], "YS") == ["1969-01-01T00:00", "2000-01-01T00:00"]


def test_an_unknown_format_is_answered_with_the_named_ones() -> None:
    with pytest.raises(
        InvalidRecipe, match=r"expected a strptime format, such as %m/%d/%Y, or one of epoch-ms.*quarter"
    ):
        recipe_of('period_format = "%Y-Q%q"')


def test_every_example_is_read_by_its_own_style() -> None:
    assert [style.name for style in STYLES if style.read(style.example) is None] == []
