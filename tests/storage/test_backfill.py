"""The past carried out later is what was carried out live, but for the marks; interrupted, it goes on to the same end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.steps import run_backfill
from pipeline.config.recipe import Recipe
from pipeline.errors import NoObservations
from pipeline.jobs.ingest import ingest_source
from pipeline.storage.engine import open_database
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows, value
from tests.support.simulation import DAY, START, at_work, daily_recipe, delivered, live, take_in_days, training_once

pytestmark = pytest.mark.tensorflow

SEED = 20261128
#: a first training and two that the policy asks for
FEW_DAYS, RETRAIN_AFTER = range(13), 4
MANY_DAYS, RETRAIN_LATE = range(61), 16
#: the clock at which the past is carried out
LATER = START + 400 * DAY

RUN_ID = "replace(run_id, '-backfill', '') as run_id"
OF_RUN = f"select {RUN_ID.replace('run_id', 'runs.run_id', 1)}, series.series, "
FROM_RUN = (
    " from {table} join runs using (run_number) join series_variables as series using (series_id) order by 1, 2, 3"
)
#: all that a life leaves, but for marks, instants of the clock, and numbers that the database gives
LEFT = {
    "runs": f"""
        select {RUN_ID}, recipe, origin, as_of, status, data_hash, recipe_fingerprint, model_version, model_hash,
            code_version, num_series, num_fallback, num_rows, content_hash, expected_next_by, calibration,
            replace(superseded_by, '-backfill', '')
        from runs order by 1""",
    "forecasts": OF_RUN
    + "step, mean, lower_95, lower_80, median, upper_80, upper_95, baseline"
    + FROM_RUN.format(table="forecasts"),
    "run_series": OF_RUN + "method, reason, scale" + FROM_RUN.format(table="run_series"),
    "run_steps": f"select {RUN_ID}, step, period from run_steps join runs using (run_number) order by 1, 2",
    "scores": OF_RUN
    + "step, scores.as_of, observed, error, naive_error, scores.scale, inside_80, inside_95"
    + FROM_RUN.format(table="scores").replace("1, 2, 3", "1, 2, 3, 4"),
    "models": """
        select model_version, model_hash, training, reason, cutoff, as_of, data_hash, recipe_fingerprint,
            training_fingerprint, code_version, record, skill
        from models order by 1""",
    "decisions": "select what, outcome, reason, model_version, as_of, facts from model_decisions order by as_of, decision_id",
}


def left_in(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What a life left, the same from both databases."""
    return {table: [tuple(map(_plain, row)) for row in rows(store.database, query)] for table, query in LEFT.items()}


def _plain(told: Any) -> Any:
    if isinstance(told, str) and told.startswith("{"):
        return {key: value for key, value in json.loads(told).items() if key != "seconds"}
    if isinstance(told, datetime):
        return told.astimezone(UTC).isoformat() if told.tzinfo else told.isoformat()
    if isinstance(told, str) and told[:2] == "20" and told[4:5] == "-":
        moment = datetime.fromisoformat(told)
        return moment.isoformat()
    return told


def backfill(recipe: Recipe, store: Store, first: datetime = START, until: datetime = LATER) -> list[dict[str, Any]]:
    return list(run_backfill(at_work(recipe, store, LATER), first, until))


def lived(folder: Path, days: range, retrain_after: int) -> dict[str, list[tuple[Any, ...]]]:
    """What the days leave when they are carried out one by one."""
    folder.mkdir()
    database = open_database(f"sqlite:///{folder}/live.db")
    require_schema(database)
    live(daily_recipe(folder, retrain_after=retrain_after), Store(database), days)
    left = left_in(Store(database))
    database.close()
    return left


@pytest.fixture(scope="module")
def few_days(trainings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """Twelve days, live."""
    with training_once(trainings):
        return lived(tmp_path_factory.mktemp("few") / "life", FEW_DAYS, RETRAIN_AFTER)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return daily_recipe(tmp_path, retrain_after=RETRAIN_AFTER)


@pytest.fixture
def known(recipe: Recipe, store: Store, trainings: Path) -> Iterator[Store]:
    """The same deliveries at the same instants, and nothing else."""
    take_in_days(recipe, store, FEW_DAYS)
    with training_once(trainings):
        yield store


def test_the_simulated_days_include_superseded_runs_and_fallbacks(few_days: dict[str, list[tuple[Any, ...]]]) -> None:
    assert len(few_days["models"]) == 3
    assert {row[4] for row in few_days["runs"]} == {"published", "superseded"}
    assert {row[3] for row in few_days["run_series"]} > {None}
    assert len(few_days["scores"]) > 50


def test_a_backfill_of_past_days_leaves_the_same_as_live_runs(
    recipe: Recipe, known: Store, few_days: dict[str, list[tuple[Any, ...]]]
) -> None:
    facts = backfill(recipe, known)

    assert left_in(known) == few_days
    assert rows(known.database, "select distinct kind from runs") == [("backfill",)]
    assert [fact["status"] for fact in facts] == ["published"] * len(facts)
    assert [fact["as_of"] for fact in facts] == [
        instant.isoformat() for instant in known.batches.known_instants("daily")
    ]


def test_a_second_backfill_changes_nothing(recipe: Recipe, known: Store) -> None:
    backfill(recipe, known)
    before = left_in(known)

    again = backfill(recipe, known)

    assert {fact["status"] for fact in again} == {"unchanged"}
    assert left_in(known) == before


_CHILD = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from flows.steps import run_backfill
from pipeline.storage.engine import open_database
from pipeline.config.loader import load_recipe
from pipeline.storage.store import Store
from tests.storage.test_backfill import LATER
from tests.support.simulation import START, at_work, training_once

url, folder, trainings, last = sys.argv[1:]
database, count = open_database(url), 0

@sa.event.listens_for(database.engine, "before_cursor_execute")
def before(*_):
    global count
    count += 1
    if count == int(last):
        os.kill(os.getpid(), signal.SIGKILL)

with training_once(Path(trainings)):
    for _ in run_backfill(at_work(load_recipe("daily", Path(folder)), Store(database), LATER), START, LATER):
        pass
print(count)
"""


def carried_out_elsewhere(url: str, folder: Path, trainings: Path, last: int) -> subprocess.CompletedProcess[str]:
    """The past carried out in a process of its own, which is killed before its statement of that number; 0: never."""
    return subprocess.run(
        [sys.executable, "-c", _CHILD, url, str(folder), str(trainings), str(last)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )


def killed_and_resumed(url: str, folder: Path, trainings: Path, num_statements: int) -> None:
    """Killed at three points, each time begun again, and then left to its end."""
    rng = random.Random(SEED)
    for last in (rng.randrange(1, num_statements) for _ in range(3)):
        ended = carried_out_elsewhere(url, folder, trainings, last)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    ended = carried_out_elsewhere(url, folder, trainings, 0)
    assert ended.returncode == 0, ended.stderr


def test_a_backfill_that_was_killed_and_started_again_ends_the_same(
    database_url: str,
    recipe: Recipe,
    known: Store,
    few_days: dict[str, list[tuple[Any, ...]]],
    trainings: Path,
) -> None:
    killed_and_resumed(database_url, recipe.folder, trainings, 700)

    assert left_in(known) == few_days
    assert integrity_errors(known) == []


def test_a_backfill_is_never_the_latest_forecast(recipe: Recipe, known: Store) -> None:
    backfill(recipe, known)

    assert known.runs.latest_forecasts("daily") == []
    assert known.models.champion("daily") is None
    (status,) = known.recipes.status()
    assert (status["latest_origin"], bool(status["is_stale"])) == (None, True)

    (today,) = live(recipe, known, range(13, 14))
    assert (today["training"], today["reason"]) == ("retrain", "no model yet")
    assert {row["run_id"] for row in known.runs.latest_forecasts("daily")} == {today["run_id"]}


def test_a_backfill_changes_nothing_in_the_views_of_live_forecasts(
    recipe: Recipe, store: Store, trainings: Path
) -> None:
    with training_once(trainings):
        live(recipe, store, FEW_DAYS)
        before, champion = store.runs.latest_forecasts("daily"), store.models.champion("daily")
        published = "select origin, status, content_hash from runs where kind = '{}' order by run_number"

        facts = backfill(recipe, store)

    assert store.runs.latest_forecasts("daily") == before
    assert store.models.champion("daily") == champion
    assert {fact["training"] for fact in facts} == {"keep"}
    backfilled = rows(store.database, published.format("backfill"))
    assert backfilled == rows(store.database, published.format("live"))


def test_a_backfill_runs_only_the_days_in_its_range(recipe: Recipe, known: Store) -> None:
    first, last = START + 2 * DAY, START + 4 * DAY

    facts = backfill(recipe, known, first, last)

    assert [fact["as_of"] for fact in facts] == [first.isoformat(), (first + DAY).isoformat()]
    assert facts[0]["seconds"].keys() == {"train", "forecast", "score", "mlflow", "sql"}
    assert facts[1]["seconds"]["sql"] < facts[0]["seconds"]["sql"] + 1


def test_a_backfill_of_an_earlier_instant_does_not_replace_a_later_one(recipe: Recipe, known: Store) -> None:
    """On the 6th day the origin of the 4th was told anew; the 5th brought nothing."""
    (later,) = backfill(recipe, known, START + 6 * DAY, START + 7 * DAY)

    third, fourth, sixth = backfill(recipe, known, START + 3 * DAY, START + 7 * DAY)

    assert (third["status"], sixth["status"]) == ("published", "unchanged")
    assert (fourth["status"], fourth["reason"]) == (
        "refused",
        f"run {later['run_id']} was made from data as of 2026-03-07T06:00:00+00:00: a forecast as of "
        "2026-03-05T06:00:00+00:00 does not replace it",
    )
    assert value(known.database, "select count(*) from runs where status = 'superseded'") == 0


def test_a_changed_recipe_is_backfilled_again(recipe: Recipe, known: Store) -> None:
    first, until = START, START + 3 * DAY
    backfill(recipe, known, first, until)
    bounded = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"maximum": 120.0})})

    anew = backfill(bounded, known, first, until)

    assert {fact["status"] for fact in anew} == {"published"}
    assert (
        value(known.database, "select max(mean) from forecasts join runs using (run_number) where status = 'published'")
        <= 120
    )


def test_a_day_with_too_short_a_history_gets_a_baseline_and_the_backfill_continues(
    recipe: Recipe, store: Store, trainings: Path
) -> None:
    store.recipes.register(recipe)
    head, *lines = delivered(0).splitlines(keepends=True)
    (recipe.folder / "daily.csv").write_text(head + "".join(lines[:5] + lines[31:36]), "utf-8")
    ingest_source(recipe, store, START - DAY)
    take_in_days(recipe, store, range(2))

    with training_once(trainings):
        facts = backfill(recipe, store, START - DAY)

    assert [fact["status"] for fact in facts] == ["published", "published", "published"]
    assert [fact["model_version"] is None for fact in facts] == [True, False, False]
    assert "no network can be trained yet" in facts[0]["reason"]
    assert facts[0]["as_of"] == (START - DAY).isoformat()


def test_a_history_loaded_at_once_is_an_error_that_names_its_one_instant(
    recipe: Recipe, store: Store, trainings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take_in_days(recipe, store, range(1))
    with pytest.raises(NoObservations) as nothing:
        backfill(recipe, store, START - 30 * DAY, START)
    assert str(nothing.value) == (
        "daily has data only since 2026-03-01T06:00:00+00:00; there is nothing to backfill before; received from "
        "2026-01-30T06:00:00+00:00 to 2026-03-01T06:00:00+00:00"
    )

    with training_once(trainings):
        (only,) = backfill(recipe, store, START - 30 * DAY)
    assert only["status"] == "published"
    assert "daily received all its data at once, at 2026-03-01T06:00:00+00:00: there is one cycle" in caplog.messages


def test_a_range_without_new_data_is_an_error_that_lists_the_recorded_instants(recipe: Recipe, known: Store) -> None:
    """The fifth day brought nothing."""
    with pytest.raises(NoObservations) as nothing:
        backfill(recipe, known, START + 5 * DAY, START + 6 * DAY)

    assert str(nothing.value) == (
        "daily received no new data from 2026-03-06T06:00:00+00:00 to 2026-03-07T06:00:00+00:00: expected a range "
        "that holds an instant from 2026-03-01T06:00:00+00:00 to 2026-03-13T06:00:00+00:00"
    )


def test_a_range_before_the_first_batch_is_an_error(
    recipe: Recipe, known: Store, caplog: pytest.LogCaptureFixture
) -> None:
    backfill(recipe, known, START - DAY, START + DAY)

    assert "daily has data only since 2026-03-01T06:00:00+00:00: the cycles begin there" in caplog.messages


def test_without_observations_the_error_names_the_command_to_run(recipe: Recipe, store: Store) -> None:
    with pytest.raises(NoObservations, match="^there are no observations of daily: run `nextperiod ingest daily`$"):
        backfill(recipe, store)


@pytest.fixture
def types(
    database_url: str, store: Store, recipe: Recipe, trainings: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """What somebody types whose service has run for a few days; MLflow has followed."""
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", database_url)
    monkeypatch.setenv("NEXTPERIOD_RECIPES", str(recipe.folder))
    with training_once(trainings):
        live(recipe, store, range(7))
        for item in store.outbox.pending():
            store.outbox.mark_done(item, START)
        yield lambda *arguments: CliRunner().invoke(app, ["backfill", "daily", *arguments])


def test_the_command_prints_a_line_for_each_cycle_and_a_summary(types: Callable[..., Result]) -> None:
    told = types("--from", "2026-03-04", "--to", "2026-03-07")

    assert told.exit_code == 0
    assert told.stdout.splitlines() == [
        "2026-03-04T06:00:00+00:00  published daily-2026-03-03-backfill-1, after 2026-03-03 by model 1 "
        "(keep: 3 new periods, due after 4)",
        "2026-03-05T06:00:00+00:00  published daily-2026-03-04-backfill-1, after 2026-03-04 by model 2 "
        "(keep: nothing new since the training)",
        "2026-03-07T06:00:00+00:00  published daily-2026-03-04-backfill-2, after 2026-03-04 by model 2 "
        "(keep: nothing new since the training)",
        "daily: 3 cycles: 3 published",
    ]


def test_the_command_prints_the_cycles_as_json(types: Callable[..., Result]) -> None:
    told = types("--from", "2026-03-04", "--to", "2026-03-05T06:00Z", "--json")

    first, second = json.loads(told.stdout)
    assert (first["recipe"], first["status"], first["as_of"]) == ("daily", "published", "2026-03-04T06:00:00+00:00")
    assert second["run_id"] == "daily-2026-03-04-backfill-1"


def test_the_command_exits_with_1_if_a_cycle_was_refused(types: Callable[..., Result]) -> None:
    types("--from", "2026-03-07", "--to", "2026-03-07")

    told = types("--from", "2026-03-05", "--to", "2026-03-07")

    assert told.exit_code == 1
    assert told.stdout.splitlines()[0].startswith("2026-03-05T06:00:00+00:00  refused: run daily-2026-03-04-backfill-1")
    assert told.stdout.splitlines()[-1] == "daily: 2 cycles: 1 refused, 1 unchanged"


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ("2026-03-05", "2026-03-04", "--to 2026-03-04 is before --from 2026-03-05"),
        ("yesterday", "2026-03-04", '--from "yesterday" is not an instant: expected ISO 8601'),
        ("2026-03-05", "tomorrow", '--to "tomorrow" is not an instant'),
    ],
)
def test_invalid_days_are_errors(first: str, last: str, says: str) -> None:
    told = CliRunner().invoke(app, ["backfill", "daily", "--from", first, "--to", last])

    assert told.exit_code == 2
    assert says in " ".join(told.stderr.replace("│", " ").split())


@pytest.mark.slow
def test_sixty_days_of_real_trainings_leave_the_same(
    database_url: str, recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    """Live on SQLite; then on both databases, killed at three points; each of the three trainings made anew."""
    trained = [tmp_path / name for name in ("live", "later")]
    with training_once(trained[0]):
        left = lived(tmp_path / "life", MANY_DAYS, RETRAIN_LATE)
    assert len(left["models"]) >= 3
    late = daily_recipe(tmp_path, retrain_after=RETRAIN_LATE)
    take_in_days(late, store, MANY_DAYS)

    killed_and_resumed(database_url, tmp_path, trained[1], 2500)

    assert left_in(store) == left
    assert integrity_errors(store) == []


@pytest.mark.slow
def test_a_backfill_killed_during_a_training_can_be_started_again_at_once(
    database_url: str, recipe: Recipe, store: Store, tmp_path: Path
) -> None:
    take_in_days(recipe, store, range(2))
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, database_url, str(tmp_path), str(tmp_path / "trained"), "0"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    while value(store.database, "select count(*) from leases") == 0:
        assert process.poll() is None
    process.kill()
    process.wait()
    assert store.models.champion_as_of("daily", LATER) is None

    ended = carried_out_elsewhere(database_url, tmp_path, tmp_path / "trained", 0)

    assert ended.returncode == 0, ended.stderr
    assert value(store.database, "select count(*) from runs where status = 'published'") == 2
