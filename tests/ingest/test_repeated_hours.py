"""Local times that the clocks repeat are told apart by the order of the rows, each series and change for itself.

What stays unclear is rejected row by row: two rows a year, not the file.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest

from pipeline.config.loader import load_recipe
from pipeline.sources.delivery import FetchContext
from pipeline.sources.registry import fetch
from tests.ingest.test_local_times import CHANGES, ZONES, local_year
from tests.support.deliveries import Ingested, delivery_of, ingest_delivery, recipe_of
from tests.support.examples import NOW

CASE = Path(__file__).parents[1] / "cases" / "local-hours-without-fold-column"
Row = tuple[str, ...]


def days_around(zone: str, change: str, minutes: int = 60) -> list[Row]:
    """The rows of the day of a change and of the days beside it; each value is the number of its row in the year."""
    day = datetime.fromisoformat(change).date().toordinal()
    rows = local_year(zone, minutes)
    return [row[:2] for row in rows if abs(datetime.fromisoformat(row[0]).toordinal() - day) <= 1]


def ingest(rows: Sequence[Row], zone: str = "Europe/Amsterdam", frequency: str = "h", **keys: int) -> Ingested:
    recipe = recipe_of(f'zone = "{zone}"\nmax_rejected = 0.9', frequency=frequency, top="max_gap = 9")
    if rows and len(rows[0]) == 3:
        recipe = recipe_of(
            f'zone = "{zone}"\nmax_rejected = 0.9\nseries = "shop"', frequency=frequency, top="max_gap = 9"
        )
    return ingest_delivery(delivery_of(rows, **keys), recipe)


def is_in_order(ingested: Ingested) -> bool:
    """Whether the values, which count the rows, follow the instants."""
    return [int(value) for value in ingested.values] == sorted(int(value) for value in ingested.values)


def test_a_meter_file_in_local_time_is_read_at_the_first_try() -> None:
    recipe = load_recipe(str(CASE / "recipe.toml"), CASE)

    with fetch(recipe, FetchContext(now=NOW)) as delivery:
        ingested = ingest_delivery(delivery, recipe)

    assert ingested.rejections == ()
    assert ingested.new["t", "2023-10-29T00:00"] == 61.48  # 02:00 of summer
    assert ingested.new["t", "2023-10-29T01:00"] == 63.88  # 02:00 of winter


@pytest.mark.parametrize("minutes", [60, 30, 15])
@pytest.mark.parametrize(("zone", "change"), [(change[0], change[4]) for change in CHANGES], ids=ZONES)
def test_every_row_of_the_day_gets_its_instant(zone: str, change: str, minutes: int) -> None:
    rows = days_around(zone, change, minutes)

    ingested = ingest(rows, zone, f"{minutes}min")

    if minutes < 60 or zone != "Australia/Lord_Howe":  # whose clocks repeat half an hour
        assert ingested.rejections == ()
        assert len(ingested.new) == len(rows)
    assert is_in_order(ingested)


@pytest.mark.parametrize("minutes", [60, 15])
def test_the_newest_row_may_come_first(minutes: int) -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27", minutes)[::-1]

    ingested = ingest(rows, frequency=f"{minutes}min")

    assert len(ingested.new) == len(rows)
    assert is_in_order(ingested)


def test_quarter_hours_may_be_interleaved() -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27", 15)
    repeated = sorted((row for row in rows if row[0].startswith("2024-10-27 02:")), key=lambda row: row[0])
    before = [row for row in rows if row[0] < "2024-10-27 02"]
    after = [row for row in rows if row[0] >= "2024-10-27 03"]

    ingested = ingest([*before, *repeated, *after], frequency="15min")

    assert len(ingested.new) == len(rows)
    assert is_in_order(ingested)


def test_each_series_has_an_order_of_its_own() -> None:
    rows = days_around("America/New_York", "2024-11-03")
    first = [(*row, "up") for row in rows]
    second = [(*row, "down") for row in rows[::-1]]
    mixed = [row for pair in zip(first, second, strict=True) for row in pair]

    for delivered in (first + second, mixed):
        ingested = ingest(delivered, "America/New_York")

        for name in ("up", "down"):
            values = [ingested.new[key] for key in sorted(ingested.new) if key[0] == name]
            assert len(values) == len(rows)
            assert values == sorted(values)


@pytest.mark.parametrize("chunk_rows", [1, 7, 25, 26, 27])
def test_the_rows_may_come_in_any_chunks(chunk_rows: int) -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27")

    ingested = ingest(rows, chunk_rows=chunk_rows)

    assert len(ingested.new) == len(rows)
    assert is_in_order(ingested)


def test_an_hour_that_is_there_once_is_one_rejected_row() -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27")
    place = next(n for n, row in enumerate(rows) if row[0] == "2024-10-27 02:00")

    ingested = ingest([*rows[:place], *rows[place + 1 :]])

    (rejection,) = ingested.rejections
    assert rejection.text == "2024-10-27 02:00"
    assert rejection.rule == (
        "happens twice in Europe/Amsterdam: 2024-10-27T00:00Z or 2024-10-27T01:00Z? expected both in the order of time, "
        "source.fold, or an offset in each row"
    )
    assert len(ingested.new) == len(rows) - 2


def test_rows_in_no_order_leave_two_rows_unclear() -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27")
    random.Random(0).shuffle(rows)

    ingested = ingest(rows)

    assert [rejection.text for rejection in ingested.rejections] == ["2024-10-27 02:00"] * 2
    assert len(ingested.new) == len(rows) - 2


def test_a_delivery_that_repeats_its_rows_is_not_taken_for_repeated_hours() -> None:
    rows = [row for row in days_around("Europe/Amsterdam", "2024-10-27") for _ in range(2)]
    once = [row for n, row in enumerate(rows) if row[0] != "2024-10-27 02:00" or n % 4 < 2]

    assert {rejection.text for rejection in ingest(once).rejections} == {"2024-10-27 02:00"}


def test_a_single_row_of_the_hour_is_unclear() -> None:
    ingested = ingest([("2024-10-27 02:00", "1"), ("2024-10-27 02:00", "2"), ("2024-12-27 02:00", "2")], frequency="h")

    assert len(ingested.rejections) == 2


def test_infer_is_no_name_of_a_column() -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27")

    ingested = ingest_delivery(delivery_of(rows), recipe_of('zone = "Europe/Amsterdam"\nfold = "infer"', frequency="h"))

    assert len(ingested.new) == len(rows)


def test_a_later_delivery_of_the_same_rows_changes_nothing() -> None:
    rows = days_around("Europe/Amsterdam", "2024-10-27")
    recipe = recipe_of('zone = "Europe/Amsterdam"', frequency="h")
    stored = ingest_delivery(delivery_of(rows), recipe).new

    again = ingest_delivery(delivery_of(rows), recipe, stored)

    assert (again.new, again.revised, again.num_same) == ({}, {}, len(rows))


def test_a_time_that_the_clocks_skip_may_be_shifted() -> None:
    rows = [("2024-03-31 01:00", "1"), ("2024-03-31 02:00", "2"), ("2024-03-31 04:00", "3")]
    zone = 'zone = "Europe/Amsterdam"\nmax_rejected = 0.5'

    shifted = ingest_delivery(delivery_of(rows), recipe_of(f'{zone}\nnonexistent = "shift"', frequency="h"))

    assert shifted.periods == ["2024-03-31T00:00", "2024-03-31T01:00", "2024-03-31T02:00"]
    rejected = ingest_delivery(delivery_of(rows), recipe_of(zone, frequency="h", top="max_gap = 1"))
    assert [rejection.text for rejection in rejected.rejections] == ["2024-03-31 02:00"]
