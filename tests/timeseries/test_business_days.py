"""Business days of a country leave out its weekends and bank holidays, and those of the part that is named."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidRecipe
from pipeline.timeseries.frequency import Frequency
from tests.support.deliveries import delivery_of, ingest_delivery, recipe_of, refusal
from tests.support.recipes import build_recipe


def days_after(calendar: str, day: str, count: int) -> list[str]:
    return [str(found)[:10] for found in Frequency("B", calendar).after(np.datetime64(day, "us"), count)]


@pytest.mark.parametrize(
    ("calendar", "day", "following"),
    [
        ("DE", "2024-12-24", ["2024-12-27", "2024-12-30", "2024-12-31", "2025-01-02"]),
        ("DE", "2025-01-03", ["2025-01-06"]),
        ("DE-BY", "2025-01-03", ["2025-01-07"]),
        ("US", "2024-07-03", ["2024-07-05"]),
        ("NL", "2024-04-26", ["2024-04-29"]),
        ("GB-SCT", "2024-12-31", ["2025-01-03"]),
        ("IL", "2024-01-04", ["2024-01-07"]),
        ("DE", "2024-03-28", ["2024-04-02"]),
    ],
)
def test_the_day_after_is_the_next_day_of_business(calendar: str, day: str, following: list[str]) -> None:
    assert days_after(calendar, day, len(following)) == following


def test_a_year_counts_its_business_days() -> None:
    first, last = np.datetime64("2024-01-01", "us"), np.datetime64("2024-12-31", "us")

    assert len(Frequency("D", "DE").between(first, last)) == 253  # 262 weekdays, 9 holidays on them
    assert len(Frequency("D", "DE-BY").between(first, last)) == 251  # Corpus Christi and All Saints as well


def test_a_bank_holiday_is_no_gap_and_its_value_is_a_fault() -> None:
    recipe = recipe_of(top='calendar = "DE"', frequency="B")
    days = ["2024-12-20", "2024-12-23", "2024-12-24", "2024-12-27", "2024-12-30"]

    assert len(ingest_delivery(delivery_of([(day, "1") for day in days]), recipe).new) == 5

    error = str(refusal(delivery_of([(day, "1") for day in [*days, "2024-12-25"]]), recipe))
    assert '"2024-12-25" is not a business day of DE' in error


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ("ZZ", "expected the two letters of a country, such as DE or US, or an exchange code such as XNYS"),
        ("DE-XX", '"XX" is no part of DE; expected one of BB, BE, BW, BY'),
        ("Germany", "expected an exchange code such as .*, or a country such as DE or DE-BY"),
        ("MC-1", '"1" is no part of MC; expected MC alone, which has no parts'),
    ],
)
def test_an_unknown_calendar_is_answered_with_what_is_expected(calendar: str, expected: str) -> None:
    with pytest.raises(InvalidRecipe, match=f'calendar "{calendar}" is not known: {expected}'):
        build_recipe("small", frequency="B", calendar=calendar)


def test_business_days_are_days() -> None:
    with pytest.raises(InvalidRecipe, match='frequency is "MS", but the periods of calendar DE are days'):
        build_recipe("small", calendar="DE")
