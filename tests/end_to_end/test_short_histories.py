"""A history that is too short for any network, and series that have ended, from the command line."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.shell import Typed
from tests.support.examples import months

RECIPE = """
name = "five"
frequency = "MS"
horizon = 6

[source]
kind = "csv"
path = "data.csv"
period = "month"
value = "sold"
{source}
"""
SHORTAGE = (
    'no network can be trained yet: the longest series, "five", has 5 periods, horizon 6 needs 9: 4 more, or horizon of '
    "at most 3"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def deliver(folder: Path, values: list[float]) -> str:
    """Five months of one series, and its recipe; the path of the recipe."""
    (folder / "recipe.toml").write_text(RECIPE.format(source=""))
    rows = [f"{month},{value}" for month, value in zip(months(len(values)), values, strict=True)]
    (folder / "data.csv").write_text("\n".join(["month,sold", *rows, ""]))
    return str(folder / "recipe.toml")


def facts(types: Typed, *arguments: str) -> Any:
    status, out, err = types(*arguments, "--json")
    assert status == 0, err
    return json.loads(out)


def rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    return sqlite3.connect(folder / "store.db").execute(statement).fetchall()


def test_five_months_are_forecast_by_a_baseline_that_says_what_is_missing(types: Typed, folder: Path) -> None:
    recipe = deliver(folder, [12.0, 95, 210, 390, 410])

    run = facts(types, "run", recipe)

    assert (run["status"], run["training"], run["model_version"], run["skill"]) == ("published", "keep", None, None)
    assert run["reason"] == SHORTAGE
    published = rows(folder, "select mean, upper_80 - lower_80, method, reason, model_version from latest_forecasts")
    assert {(mean, method, reason, version) for mean, _, method, reason, version in published} == {
        (410.0, "fallback:naive", SHORTAGE, None)
    }
    assert len(published) == 6
    assert all(width > 300 for _, width, *_ in published)


def test_a_run_without_a_model_is_one_for_every_command(types: Typed, folder: Path) -> None:
    recipe = deliver(folder, [12.0, 95, 210, 390, 410])
    first = facts(types, "run", recipe)

    assert facts(types, "run", recipe)["status"] == "unchanged"
    assert facts(types, "train", recipe)["model_version"] is None
    assert facts(types, "forecast", recipe)["run_id"] == first["run_id"]
    assert facts(types, "explain", first["run_id"])["model"] is None
    assert facts(types, "explain", first["run_id"])["decision"]["reason"] == SHORTAGE
    assert types("replay", first["run_id"])[0] == 0
    status = next(row for row in facts(types, "status") if row["recipe"] == "five")
    assert (status["model_version"], status["num_fallback"]) == (None, 1)
    assert types("score", recipe)[0] == 0
    assert "the model" not in types("explain", first["run_id"])[1]


@pytest.mark.parametrize("values", [[7.0], [7.0, 7.0], [0.0] * 5, [-3.0, 4.0, -5.0]])
def test_hardly_any_values_are_forecast_too(types: Typed, folder: Path, values: list[float]) -> None:
    run = facts(types, "run", deliver(folder, values))

    assert (run["status"], run["num_rows"], run["model_version"]) == ("published", 6, None)
    assert {mean for (mean,) in rows(folder, "select median from latest_forecasts")} == {values[-1]}


def test_a_run_without_a_model_is_scored_and_followed_by_the_next(types: Typed, folder: Path) -> None:
    facts(types, "run", deliver(folder, [12.0, 95, 210, 390]))

    facts(types, "run", deliver(folder, [12.0, 95, 210, 390, 410]))

    scored = rows(folder, "select model_version, step, num_scored, mae from forecast_accuracy")
    assert scored == [(None, 1, 1, pytest.approx(20))]


def test_a_series_that_has_ended_gets_no_rows_and_is_listed(types: Typed, folder: Path) -> None:
    (folder / "recipe.toml").write_text(
        RECIPE.format(source='series = "shop"').replace('name = "five"', 'name = "shops"')
    )
    told = months(40)
    lines = [f"{month},{n},open" for n, month in enumerate(told) if n >= 35]
    lines += [f"{month},{n},closed" for n, month in enumerate(told) if n < 5]
    (folder / "data.csv").write_text("\n".join(["month,sold,shop", *lines, ""]))

    run = facts(types, "run", str(folder / "recipe.toml"))

    assert run["num_series"] == 1
    assert {name for (name,) in rows(folder, "select series from latest_forecasts")} == {"open"}
    (ended,) = rows(folder, "select series, last_period, run_id from inactive_series")
    assert (ended[0], ended[1][:10], ended[2]) == ("closed", told[4], run["run_id"])

    text = (folder / "recipe.toml").read_text()
    (folder / "recipe.toml").write_text(f'{text}\n[publish]\ninactive = "keep"\n')
    assert facts(types, "run", str(folder / "recipe.toml"))["num_series"] == 2
    assert rows(folder, "select * from inactive_series") == []


def test_a_feed_that_stops_for_most_series_is_refused_until_a_person_says_that_they_have_ended(
    types: Typed, folder: Path
) -> None:
    text = RECIPE.format(source='series = "shop"\nrolling = true').replace('name = "five"', 'name = "shops"')
    (folder / "recipe.toml").write_text(f"{text}\n[publish]\nactive_within = 3\n")
    periods, recipe = months(8), str(folder / "recipe.toml")

    def deliver_until(last: dict[str, int], since: int = 0) -> None:
        lines = [f"{periods[n]},{n},{shop}" for shop, count in last.items() for n in range(since, count)]
        (folder / "data.csv").write_text("\n".join(["month,sold,shop", *lines, ""]))

    deliver_until({"a": 4, "b": 4, "c": 4, "d": 4, "e": 4})
    first = facts(types, "run", recipe)
    deliver_until({"a": 8, "b": 8}, since=4)
    status, _, printed = types("run", recipe)

    assert status == 1
    assert '3 of 5 series have had no value for 3 periods and would count as ended, such as "c", "d", "e"' in printed
    assert "nothing was published" in printed
    assert rows(folder, "select distinct run_id from latest_forecasts") == [(first["run_id"],)]

    (folder / "recipe.toml").write_text(f"{text}\n[publish]\nactive_within = 3\nmax_ended = 1.0\n")
    assert facts(types, "run", recipe)["num_series"] == 2


def test_a_run_after_a_reset_replaces_those_before_it_even_where_its_origin_is_earlier(
    types: Typed, folder: Path
) -> None:
    recipe = deliver(folder, [12.0, 95, 210, 390, 410])
    wrong = facts(types, "run", recipe)
    facts(types, "reset", recipe, "--yes")
    assert rows(folder, "select distinct run_id from latest_forecasts") == [(wrong["run_id"],)]

    right = facts(types, "run", deliver(folder, [12.0, 95, 210]))

    assert right["origin"] < wrong["origin"]
    assert rows(folder, "select distinct run_id from latest_forecasts") == [(right["run_id"],)]
    assert rows(folder, "select count(distinct run_id) from forecast_history") == [(2,)]
    assert types("doctor")[0] == 0
    third = facts(types, "run", deliver(folder, [12.0, 95, 210, 390]))
    assert rows(folder, "select run_id from runs where status = 'published' order by origin") == [
        (right["run_id"],),
        (third["run_id"],),
    ]


@pytest.mark.tensorflow
def test_three_years_of_weeks_are_forecast(types: Typed, folder: Path) -> None:
    shutil.copytree(Path(__file__).parents[1] / "cases" / "three-years-of-weeks", folder, dirs_exist_ok=True)

    run = facts(types, "run", str(folder / "recipe.toml"))

    assert (run["status"], run["num_rows"], run["model_version"]) == ("published", 6, 1)
    published = rows(folder, "select mean, lower_95, upper_95, method from latest_forecasts")
    history = [value for (value,) in rows(folder, "select value from current_observations")]
    assert {method for *_, method in published} <= {"lstm", "fallback:seasonal-naive", "fallback:naive"}
    assert all(min(history) * 0.8 < mean < max(history) * 1.2 for mean, *_ in published)
    assert all(lower < mean < upper for mean, lower, upper, _ in published)
