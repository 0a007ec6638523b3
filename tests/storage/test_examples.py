"""Each view, and the table of sample paths, has an example query that gives what it says, the same in both databases."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage.engine import Database
from pipeline.storage.schema import VIEWS
from tests.storage.handmade_store import RECORDED_AT, key_of, write_store
from tests.storage.raw_sql import change, insert, rows

EXAMPLES = Path(str(files("sql"))) / "queries" / "examples"
README = Path(str(files("sql"))) / "README.md"
#: by view; instants and periods are compared by their day
ANSWERS: dict[str, list[tuple[Any, ...]]] = {
    "latest_forecasts": [("small", "a", "2025-04-01", 140.0, 135.0, 145.0, "lstm")],
    "forecast_history": [
        ("small", "a", "2025-03-01", "2025-01-01", 2, 121.0, 150.0, -29.0),
        ("small", "a", "2025-03-01", "2025-02-01", 1, 125.0, 150.0, -25.0),
    ],
    "current_observations": [
        ("small", "a", "2025-01-01", 112.0, "2025-04-01"),
        ("small", "a", "2025-02-01", 120.0, "2025-03-01"),
        ("small", "a", "2025-03-01", 150.0, "2025-04-01"),
        ("small", "b", "2025-01-01", 50.0, "2025-02-01"),
    ],
    # step 1: (2 + 25) / 2 against (10 + 30) / 2; step 2: 29 against 40
    "forecast_accuracy": [("small", 1, 1, 2, 13.5, 0.5, 0.325), ("small", 1, 2, 1, 29.0, 0.0, 0.275)],
    "anomalies": [("small", "a", "2025-03-01", 150.0, 117.0, 133.0)],
    "inactive_series": [("small", "b", "2025-01-01")],
    "recipe_status": [("idle", None, None, None, None, None)],
    "rejected_observations": [
        ("small", "small.csv", "number", 2, 7, "2025-05-01"),
        ("small", "small.csv", "duplicate", 1, 3, "2025-05-01"),
    ],
    # March, February and January brought 150 + 120 + 112; of four paths one brings more
    "latest_paths": [("small", "a", 4, 382.0, 330.0, 0.25)],
    "recipes": [
        ("idle", None, None, None, "UTC", None, None, None),
        ("small", "A small shop", "pieces", "MS", "UTC", 12, 3, 1),
    ],
    # b has ended
    "series": [("small", "a", "2024-12-01", "2025-03-01", 4)],
    # the price of March is known, too, but March is over
    "covariates": [("small", "a", "price", "2025-04-01", 3.5)],
    "attempts": [("small", "run", "2025-04-03", "failed", "small.csv is missing")],
    "decisions": [
        ("small", "2025-03-02", "batch", "withdrawn", None, None, 2),
        ("small", "2025-02-02", "promotion", "promoted", "no model yet", 1, None),
        ("small", "2025-02-01", "training", "retrain", "no model yet", 1, None),
    ],
    "model_history": [("small", 1, "retrain", "2025-02-02", None, None)],
    "backtest_by_series": [("small", "b", 2.5, "naive", 2.0, -0.25)],
}


def example(view: str) -> str:
    """The query, as a consumer pastes it."""
    return (EXAMPLES / f"{view}.sql").read_text("utf-8")


@pytest.mark.parametrize("view", ANSWERS)
def test_the_example_gives_what_it_says(database: Database, view: str) -> None:
    write_store(database)
    write_paths(database)
    write_what_tools_read(database)

    found = rows(database, example(view))

    assert [tuple(_day(value) for value in row) for row in found] == [
        tuple(pytest.approx(value) if isinstance(value, float) else value for value in row) for row in ANSWERS[view]
    ]


def write_paths(database: Database) -> None:
    """Four paths of the latest run, which bring 300, 310, 320 and 390 in three months, and one of an earlier run."""
    totals = {"march": (300, 310, 320, 390), "january": (900,)}
    insert(
        database,
        "sample_paths",
        *(
            {**key_of(database, run_id), "series_id": 1, "path": path, "step": step, "value": total / 3}
            for run_id, told in totals.items()
            for path, total in enumerate(told, start=1)
            for step in (1, 2, 3)
        ),
    )


def write_what_tools_read(database: Database) -> None:
    """The definition of the recipe, a covariate, decisions, and the errors of a backtest."""
    definition = '{"description": "A small shop", "unit": "pieces", "frequency": "MS", "horizon": 3}'
    facts = "definition = :definition, season_length = 12, champion_version = 1"
    change(database, f"update registered_recipes set {facts} where recipe = 'small'", definition=definition)
    insert(database, "series_variables", {"recipe": "small", "series": "a", "variable": "price"})
    price = {"series_id": 3, "batch_id": 3}
    insert(
        database,
        "observations",
        {**price, "period": "2025-03-01", "value": 3.0},
        {**price, "period": "2025-04-01", "value": 3.5},
    )
    decision = {
        "recipe": "small",
        "kind": "live",
        "reason": "no model yet",
        "model_version": 1,
        "as_of": RECORDED_AT[1],
    }
    insert(
        database,
        "model_decisions",
        {**decision, "what": "training", "outcome": "retrain", "decided_at": "2025-02-01 08:00:00.000000+00:00"},
        {**decision, "what": "promotion", "outcome": "promoted", "decided_at": "2025-02-02 08:00:00.000000+00:00"},
    )
    decided = "decision = 'withdrawn', decided_at = '2025-03-02 06:00:00.000000+00:00'"
    change(database, f"update batches set {decided} where batch_id = 2")
    errors = {"recipe": "small", "model_version": 1, "num_scored": 3, "rmse": 9.0, "smape": 9.0, "baseline": "naive"}
    insert(
        database,
        "backtest_errors",
        {**errors, "series_id": 1, "mae": 5.0, "mase": 0.5, "baseline_mae": 10.0, "baseline_mase": 1.0},
        {**errors, "series_id": 2, "mae": 25.0, "mase": 2.5, "baseline_mae": 20.0, "baseline_mase": 2.0},
    )


def _day(value: Any) -> Any:
    return str(value)[:10] if re.match(r"\d{4}-\d\d-\d\d", str(value)) else value


def test_every_view_has_an_example_and_every_example_is_of_a_view() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir()) == sorted(f"{view}.sql" for view in VIEWS)


@pytest.mark.parametrize("view", ANSWERS)
def test_an_example_says_first_what_it_answers_and_reads_its_view_alone_or_with_others(view: str) -> None:
    says, query = example(view).split("\n", 1)
    read = set(re.findall(r"\b(?:from|join) (\w+)", query)) - set(
        re.findall(r"^(?:with )?(\w+) as \($", query, re.MULTILINE)
    )

    assert re.match(r"-- \S.*\.$", says)
    assert query.startswith(("with ", "select\n", "select "))
    assert view in read
    assert read <= set(VIEWS)
    assert "%" not in query
    assert ":" not in query


def test_the_page_of_the_views_links_every_example() -> None:
    page = README.read_text("utf-8")

    assert f"](queries/{EXAMPLES.name})" in page
    assert [view for view in VIEWS if f"](queries/{EXAMPLES.name}/{view}.sql)" not in page] == []
