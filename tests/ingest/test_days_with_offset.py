"""Days that are given as instants need a zone: without one they would be stored as the day before."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from pipeline.config.loader import load_recipe
from pipeline.errors import BatchRefused
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from tests.support.deliveries import delivery_of, ingest_delivery, recipe_of, refusal
from tests.support.examples import NOW

CASE = Path(__file__).parents[1] / "cases" / "offset-days-labelled-the-day-before"


def midnights(zone: str, first: str = "2024-03-01", count: int = 60) -> list[str]:
    start = datetime.fromisoformat(first)
    return [(start + timedelta(days=n)).replace(tzinfo=ZoneInfo(zone)).isoformat() for n in range(count)]


def test_the_first_delivery_asks_for_the_zone() -> None:
    recipe = load_recipe(str(CASE / "recipe.toml"), CASE)

    with fetch(recipe, FetchContext(now=NOW)) as delivery, pytest.raises(BatchRefused) as refused:
        ingest_delivery(delivery, recipe)

    assert str(refused.value) == (
        'data.csv: column day: days with an offset from UTC ("2024-01-01T00:00:00+01:00") need source.zone, whose days '
        'they are: set source.zone, for example zone = "Europe/Paris"; nothing was ingested'
    )


@pytest.mark.parametrize(
    ("zone", "suggested"),
    [
        ("Europe/Berlin", "Europe/Paris"),  # both changes of the clocks are in the days
        ("Asia/Tokyo", "Asia/Tokyo"),
        ("America/Chicago", "America/Chicago"),
        ("Asia/Kolkata", "Asia/Kolkata"),
        ("Europe/London", "Europe/London"),
    ],
)
@pytest.mark.parametrize("frequency", ["D", "W-FRI"])
def test_every_offset_is_asked_about(zone: str, suggested: str, frequency: str) -> None:
    texts = midnights(zone, count=210)[:: 7 if frequency != "D" else 1]
    rows = [(text, str(n)) for n, text in enumerate(texts)]

    assert f'for example zone = "{suggested}"' in str(refusal(delivery_of(rows), recipe_of(frequency=frequency)))

    periods = ingest_delivery(delivery_of(rows), recipe_of(f'zone = "{zone}"', frequency=frequency)).periods
    assert periods == [f"{text[:10]}T00:00" for text in texts]


@pytest.mark.parametrize("offset", ["Z", "+00:00", "+0000"])
def test_midnights_of_utc_are_days(offset: str) -> None:
    rows = [(f"2024-01-{day:02d}T00:00:00{offset}", "1") for day in range(1, 11)]

    assert ingest_delivery(delivery_of(rows), recipe_of(frequency="D")).periods[0] == "2024-01-01T00:00"


def test_other_instants_of_utc_may_be_days_of_any_zone() -> None:
    rows = [(f"2024-01-{day:02d}T23:00:00Z", "1") for day in range(1, 11)]

    error = str(refusal(delivery_of(rows), recipe_of(frequency="D")))

    assert "days that are no midnights of UTC (2024-01-01T23:00Z) need source.zone" in error
    periods = ingest_delivery(delivery_of(rows), recipe_of('zone = "Europe/Paris"', frequency="D")).periods
    assert periods[0] == "2024-01-02T00:00"


def test_a_typed_column_names_its_own_zone() -> None:
    kind = pa.timestamp("us", "Asia/Tokyo")
    rows = [(datetime(2024, 1, day, tzinfo=ZoneInfo("Asia/Tokyo")), "1") for day in range(1, 11)]

    error = str(refusal(delivery_of(rows, types=[kind, pa.string()]), recipe_of(frequency="D")))

    assert 'days in the zone Asia/Tokyo need source.zone, whose days they are: set source.zone = "Asia/Tokyo"' in error


def test_hours_with_an_offset_are_instants_and_need_no_zone() -> None:
    rows = [(f"2024-01-01T{hour:02d}:00:00+01:00", "1") for hour in range(5)]

    assert ingest_delivery(delivery_of(rows), recipe_of(frequency="h")).periods[0] == "2023-12-31T23:00"


def test_months_with_an_offset_are_asked_about_too() -> None:
    rows = [(f"2024-{month:02d}-01T00:00:00+01:00", "1") for month in range(1, 6)]

    assert "need source.zone" in str(refusal(delivery_of(rows), recipe_of()))
    assert ingest_delivery(delivery_of(rows), recipe_of('zone = "Africa/Lagos"')).periods[0] == "2024-01-01T00:00"
