"""The season follows from what a frequency means, not from how it is spelled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import recipe_from_definition
from pipeline.errors import InvalidRecipe
from pipeline.timeseries.frequency import Frequency
from tests.support.deliveries import delivery_of, recipe_of, refusal
from tests.support.recipes import build_recipe

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(
    ("season", "aliases"),
    [
        (60, "min 1min 60s s"),
        (360, "10s"),
        (288, "5min 300s"),
        (96, "15min"),
        (48, "30min"),
        (24, "h 1h 60min 7h"),
        (12, "2h 120min MS ME 1MS BMS BME"),
        (6, "4h 2MS"),
        (7, "D 1D 24h"),
        (5, "B 1B C"),
        (52, "W W-MON 1W-SUN 7D 5B"),
        (26, "2W 14D"),
        (13, "4W"),
        (4, "QS QE BQS QS-FEB 3MS 3ME 13W 6h"),
        (2, "12h HYS 6MS 2QS"),
        (1, "YS YE YS-JUL 12MS 4QS 2D 3W 48h 5MS ms"),
    ],
)
def test_the_season_is_that_of_the_meaning(season: int, aliases: str) -> None:
    assert {alias: Frequency(alias).season_length for alias in aliases.split()} == dict.fromkeys(
        aliases.split(), season
    )


def test_business_weeks_have_five_days_of_any_calendar() -> None:
    assert [Frequency("D", calendar).season_length for calendar in ("XNYS", "DE", "US-CA")] == [5, 5, 5]
    assert build_recipe("shares", frequency="1D", calendar="XNYS").season == 5


@pytest.mark.parametrize("same", [("h", "1h", "60min"), ("W", "W-SUN", "1W"), ("D", "1D"), ("QS", "QS-JAN")])
def test_one_frequency_has_several_spellings(same: tuple[str, ...]) -> None:
    assert len({Frequency(alias) for alias in same}) == 1


def test_different_frequencies_are_different() -> None:
    aliases = ("h", "D", "B", "W-MON", "W-SUN", "MS", "ME", "24h")
    assert len({Frequency(alias) for alias in aliases}) == len(aliases)
    assert Frequency("D", "XNYS") == Frequency("B", "XNYS") != Frequency("D", "XLON")


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ("M", '"ME" (end of month) or "MS" (start of month)'),
        ("3M", '"ME" (end of month) or "MS" (start of month)'),
        ("Q", '"QE" (end of quarter) or "QS" (start of quarter)'),
        ("Q-DEC", '"QE" (end of quarter) or "QS" (start of quarter)'),
        ("A", '"YE" (end of year) or "YS" (start of year)'),
        ("Y", '"YE" (end of year) or "YS" (start of year)'),
        ("H", '"h" (hour)'),
        ("15T", '"min" (minute)'),
        ("S", '"s" (second)'),
        ("BM", '"BME" (last business day of the month) or "BMS" (first one)'),
    ],
)
def test_an_earlier_alias_is_answered_with_the_one_of_today(earlier: str, now: str) -> None:
    with pytest.raises(InvalidRecipe) as refused:
        build_recipe("small", frequency=earlier)

    assert str(refused.value) == f'small.toml: frequency "{earlier}" is written {now} in pandas 3'


def test_a_stored_definition_keeps_the_season_that_its_runs_were_made_with() -> None:
    definition = json.loads(build_recipe("load", frequency="15min").model_dump_json())
    assert definition["season_length"] == 96
    assert recipe_from_definition(definition).season == 96

    stored_earlier = {**definition, "season_length": None}

    assert recipe_from_definition(stored_earlier).season == 1
    monthly = build_recipe("milk")
    assert monthly.season_length is None  # nothing that a stored run was made with has changed
    assert recipe_from_definition(json.loads(monthly.model_dump_json())).training_fingerprint == (
        monthly.training_fingerprint
    )


def test_quarter_hours_of_a_load_have_the_season_of_a_day() -> None:
    case = CASES / "season-of-1h-1D-15min-is-1"
    recipe = load_recipe(str(case / "recipe.toml"), case)

    assert recipe.season == 96
    assert recipe.describe_periods() == "15min: 15 minutes, season of 96"


@pytest.mark.parametrize(
    ("frequency", "calendar", "text"),
    [
        ("W-MON", None, "W-MON: week named by a Monday, season of 52"),
        ("QE", None, "QE: quarter named by the last day, season of 4"),
        ("3MS", None, "3MS: 3 months named by the first day, season of 4"),
        ("2D", None, "2D: 2 days, no season"),
        ("D", "XNYS", "D: session of XNYS, season of 5"),
        ("B", "DE-BY", "B: business day of DE-BY, season of 5"),
    ],
)
def test_a_recipe_says_what_its_periods_are(frequency: str, calendar: str | None, text: str) -> None:
    assert build_recipe("small", frequency=frequency, calendar=calendar).describe_periods() == text


@pytest.mark.parametrize(
    ("frequency", "start", "step", "right"),
    [
        ("W", "2024-01-01", 7, "W-MON"),
        ("W-MON", "2024-01-05", 7, "W-FRI"),
        ("2W", "2024-01-03", 14, "2W-WED"),
    ],
)
def test_weeks_of_another_day_are_answered_with_their_anchor(frequency: str, start: str, step: int, right: str) -> None:
    first = np.datetime64(start)
    rows = [(str(first + n * step), str(n)) for n in range(8)]

    error = str(refusal(delivery_of(rows), recipe_of(frequency=frequency)))

    assert f'all 8 periods of the source are on the frequency "{right}": set frequency = "{right}"' in error


@pytest.mark.parametrize(
    ("frequency", "days", "right"),
    [
        ("MS", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], "ME"),
        ("ME", ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"], "MS"),
        ("MS", ["2024-01-31", "2024-02-29", "2024-03-29", "2024-04-30"], "BME"),
        ("MS", ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01", "2024-05-01", "2024-06-03"], "BMS"),
        ("QS", ["2024-02-01", "2024-05-01", "2024-08-01", "2024-11-01"], "QS-FEB"),
        ("QS", ["2024-03-31", "2024-06-30", "2024-09-30", "2024-12-31"], "QE-DEC"),
        ("YS", ["2021-12-31", "2022-12-31", "2023-12-31"], "YE-DEC"),
        ("YS", ["2021-07-01", "2022-07-01", "2023-07-01"], "YS-JUL"),
        ("B", [f"2024-01-{day:02d}" for day in range(1, 22)], "D"),
    ],
)
def test_periods_named_by_another_day_are_answered_with_their_frequency(
    frequency: str, days: list[str], right: str
) -> None:
    error = str(refusal(delivery_of([(day, "1") for day in days]), recipe_of(frequency=frequency)))

    assert f'all {len(days)} periods of the source are on the frequency "{right}": set frequency = "{right}"' in error


def test_one_mistyped_day_is_not_answered_with_another_frequency() -> None:
    days = [f"2024-{month:02d}-01" for month in range(1, 12)]

    error = str(refusal(delivery_of([(day, "1") for day in [*days, "2024-12-31"]]), recipe_of()))

    assert '"2024-12-31" is not on the frequency "MS"; 1 of 12 rows rejected' in error
