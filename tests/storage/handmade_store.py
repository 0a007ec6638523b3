"""A small store written with SQL alone, every number of it round, for tests that need no code of ours to fill it."""

from __future__ import annotations

from typing import Any, NamedTuple

from pipeline.storage.engine import Database
from pipeline.storage.schema import revision_of
from tests.storage.raw_sql import change, insert, rows

#: series, period, value, batch: the first of a period is the observation, the others revise it
TOLD = (
    (1, "2024-12-01", 100.0, 1),
    (1, "2025-01-01", 110.0, 1),
    (2, "2025-01-01", 50.0, 1),
    (1, "2025-02-01", 120.0, 2),
    (1, "2025-01-01", 111.0, 2),
    (1, "2025-03-01", 150.0, 3),
    (1, "2025-01-01", 112.0, 3),
)
RECORDED_AT = {batch: f"2025-0{batch + 1}-01 06:00:00.000000+00:00" for batch in (1, 2, 3, 4)}


#: tables as they were called before the revision that gave their names to views
EARLIER_NAMES = {
    "registered_recipes": "recipes",
    "series_variables": "series",
    "model_decisions": "decisions",
    "command_attempts": "attempts",
}


class Run(NamedTuple):
    """A run of three steps: `mean` is the first one's, each further one is 3 more."""

    run_id: str
    kind: str
    origin: str
    periods: tuple[str, str, str]
    mean: float
    series_ids: tuple[int, ...] = (1,)


RUNS = (
    Run("past", "backfill", "2024-12-01", ("2025-01-01", "2025-02-01", "2025-03-01"), 105.0, (1, 2)),
    Run("january", "live", "2025-01-01", ("2025-02-01", "2025-03-01", "2025-04-01"), 118.0),
    Run("february", "live", "2025-02-01", ("2025-03-01", "2025-04-01", "2025-05-01"), 125.0),
    Run("mistaken", "live", "2025-03-01", ("2025-04-01", "2025-05-01", "2025-06-01"), 130.0),
    Run("march", "live", "2025-03-01", ("2025-04-01", "2025-05-01", "2025-06-01"), 140.0),
    Run("staged", "live", "2025-04-01", ("2025-05-01", "2025-06-01", "2025-07-01"), 999.0),
)
#: series, and how it is forecast
HOW = {1: {"method": "lstm", "reason": None}, 2: {"method": "fallback: last value", "reason": "one value is known"}}
#: run, step, observed, error, error of the naive forecast, inside both intervals
SCORES = (
    ("january", 1, 120.0, -2.0, -10.0, 1),
    ("january", 2, 150.0, -29.0, -40.0, 0),
    ("february", 1, 150.0, -25.0, -30.0, 0),
)


def write_store(database: Database) -> None:
    """Two recipes, of which one never ran: its values, batches, runs with their forecasts, and scores."""
    write_before_observations(database)
    first: dict[tuple[int, str], int] = {}
    for series_id, period, value, batch_id in TOLD:
        table = "observations" if first.setdefault((series_id, period), batch_id) == batch_id else "revisions"
        insert(database, table, {"series_id": series_id, "period": period, "value": value, "batch_id": batch_id})
    insert(database, "attributes", {"series_id": 1, "name": "region", "batch_id": 1, "value": "north"})
    write_runs(database)


def write_before_observations(database: Database) -> None:
    """Recipes, series, batches, rejections and the model, as the first schema has them too."""
    insert(
        database,
        name_of(database, "registered_recipes"),
        {"recipe": "small", "definition": "{}", "fingerprint": "f"},
        {"recipe": "idle", "definition": "{}", "fingerprint": "f"},
    )
    names = ({"recipe": "small", "series": name} for name in ("a", "b"))
    insert(database, name_of(database, "series_variables"), *names)
    counts = dict.fromkeys(("num_read", "num_new", "num_revised", "num_same", "num_rejected"), 0)
    insert(
        database,
        "batches",
        *(
            {
                "recipe": "small",
                "source": "small.csv",
                "content_hash": f"content {batch_id}",
                "recorded_at": recorded_at,
                "status": "refused" if batch_id == 4 else "accepted",
                **counts,
                "num_new": int(batch_id != 4),
            }
            for batch_id, recorded_at in RECORDED_AT.items()
        ),
    )
    insert(
        database,
        "rejections",
        *(
            {"batch_id": 4, "line": line, "column_name": "value", "text": text, "rule": rule}
            for line, text, rule in ((7, "12x", "number"), (9, "", "number"), (3, "1", "duplicate"))
        ),
    )
    insert(
        database,
        "models",
        {
            "recipe": "small",
            "model_version": 1,
            "model_hash": "model",
            "training": "retrain",
            "reason": "no model yet",
            "cutoff": "2024-12-01",
            "as_of": RECORDED_AT[1],
            "data_hash": "data",
            "recipe_fingerprint": "f",
            "training_fingerprint": "f",
            "code_version": "0",
            "record": "{}",
            "trained_at": RECORDED_AT[1],
        },
    )
    insert(
        database,
        "model_files",
        {"recipe": "small", "model_version": 1, "name": "network.onnx", "content": b"numbers"},
    )
    insert(
        database,
        name_of(database, "command_attempts"),
        {
            "recipe": "small",
            "command": "run",
            "started_at": "2025-04-03 06:00:00.000000+00:00",
            "status": "failed",
            "error": "small.csv is missing",
        },
    )


def write_runs(database: Database) -> None:
    """Runs from staged to published, with their forecasts and scores."""
    for run in RUNS:
        stage(database, run)
        if run.run_id == "march":
            supersede(database, "mistaken", "march")
        if run.run_id != "staged":
            publish(database, run.run_id)
    insert(
        database,
        "scores",
        *(
            {
                **key_of(database, run_id),
                "series_id": 1,
                "step": step,
                "as_of": RECORDED_AT[3],
                "observed": observed,
                "error": error,
                "naive_error": naive_error,
                "scale": 10.0,
                "inside_80": inside,
                "inside_95": inside,
            }
            for run_id, step, observed, error, naive_error, inside in SCORES
        ),
    )


def stage(database: Database, run: Run) -> None:
    """A run that nobody sees yet; intervals are 5 and 8 to both sides."""
    insert(
        database,
        "runs",
        {
            "run_id": run.run_id,
            "recipe": "small",
            "kind": run.kind,
            "origin": run.origin,
            "as_of": RECORDED_AT[1],
            "status": "staged",
            "data_hash": "data",
            "recipe_fingerprint": "f",
            "model_version": 1,
            "model_hash": "model",
            "code_version": "0",
            "num_series": len(run.series_ids),
            "num_fallback": len(run.series_ids) - 1,
            "num_rows": len(run.series_ids) * len(run.periods),
            "content_hash": "content",
            "expected_next_by": "2999-01-01 00:00:00.000000+00:00",
        },
    )
    key = key_of(database, run.run_id)
    steps = dict(enumerate(run.periods, start=1))
    numbers = [
        {**key, "series_id": series_id, "step": step, **numbers_around(run.mean + 3 * (step - 1))}
        for series_id in run.series_ids
        for step in steps
    ]
    if "run_id" in key:
        insert(
            database, "forecasts", *({**row, "period": steps[row["step"]], **HOW[row["series_id"]]} for row in numbers)
        )
        return
    insert(database, "run_steps", *({**key, "step": step, "period": period} for step, period in steps.items()))
    insert(database, "run_series", *({**key, "series_id": series_id, **HOW[series_id]} for series_id in run.series_ids))
    insert(database, "forecasts", *numbers)


def name_of(database: Database, table: str) -> str:
    """What a table is called at the revision of the database."""
    return EARLIER_NAMES[table] if str(revision_of(database)) < "0015" else table


def key_of(database: Database, run_id: str) -> dict[str, Any]:
    """What the rows of a run repeat: its number, or in the first schema its name."""
    if revision_of(database) == "0001":
        return {"run_id": run_id}
    return {"run_number": rows(database, f"select run_number from runs where run_id = '{run_id}'")[0][0]}


def numbers_around(mean: float) -> dict[str, float]:
    """The mean and the quantiles of a step."""
    sides = {"mean": 0, "lower_95": -8, "lower_80": -5, "median": 0, "upper_80": 5, "upper_95": 8}
    return {name: mean + side for name, side in sides.items()}


def publish(database: Database, run_id: str) -> None:
    """The run goes out, on the first of April."""
    changed = "update runs set status = 'published', published_at = '2025-04-01 07:00:00.000000+00:00'"
    change(database, f"{changed} where run_id = '{run_id}'")


def supersede(database: Database, run_id: str, by: str) -> None:
    """Another run takes the place of one."""
    change(database, f"update runs set status = 'superseded', superseded_by = '{by}' where run_id = '{run_id}'")
