"""The past carried out later is what was carried out live, but for the marks; interrupted, it goes on to the same end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.steps import carry_out_backfill
from pipeline.database import open_database
from pipeline.recipe import Recipe
from pipeline.store import Store
from tests.database.small_store import rows
from tests.life import DAY, START, at_work, daily_recipe, live, take_in_days, training_once

pytestmark = pytest.mark.tensorflow

SEED = 20261128
#: a first training and two that the policy asks for
FEW_DAYS, RETRAIN_AFTER = range(13), 4
MANY_DAYS, RETRAIN_LATE = range(61), 16
#: the clock at which the past is carried out
LATER = START + 400 * DAY

RUN_ID = "replace(run_id, '-backfill', '') as run_id"
OF_RUN = f"select {RUN_ID.replace('run_id', 'runs.run_id', 1)}, series.series, "
FROM_RUN = " from {table} join runs using (run_number) join series using (series_id) order by 1, 2, 3"
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
    "decisions": "select what, outcome, reason, model_version, as_of, facts from decisions order by as_of, decision_id",
}


def left_in(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """What a life left, the same from both databases."""
    return {table: [tuple(map(_plain, row)) for row in rows(store.database, query)] for table, query in LEFT.items()}


def _plain(told: Any) -> Any:
    if isinstance(told, datetime):
        return told.astimezone(UTC).isoformat() if told.tzinfo else told.isoformat()
    if isinstance(told, str) and told[:2] == "20" and told[4:5] == "-":
        moment = datetime.fromisoformat(told)
        return moment.isoformat()
    return told


def backfill(recipe: Recipe, store: Store, first: datetime = START, until: datetime = LATER) -> list[dict[str, Any]]:
    return list(carry_out_backfill(at_work(recipe, store, LATER), first, until))


def lived(folder: Path, days: range, retrain_after: int) -> dict[str, list[tuple[Any, ...]]]:
    """What the days leave when they are carried out one by one."""
    folder.mkdir()
    database = open_database(f"sqlite:///{folder}/live.db")
    database.require_schema()
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


def test_the_days_bring_what_makes_it_hard(few_days: dict[str, list[tuple[Any, ...]]]) -> None:
    assert len(few_days["models"]) == 3
    assert {row[4] for row in few_days["runs"]} == {"published", "superseded"}
    assert {row[3] for row in few_days["run_series"]} > {None}
    assert len(few_days["scores"]) > 50


def test_past_days_carried_out_later_leave_what_they_left_live(
    recipe: Recipe, known: Store, few_days: dict[str, list[tuple[Any, ...]]]
) -> None:
    facts = backfill(recipe, known)

    assert left_in(known) == few_days
    assert rows(known.database, "select distinct kind from runs") == [("backfill",)]
    assert [fact["status"] for fact in facts] == ["published"] * len(facts)
    assert [fact["as_of"] for fact in facts] == [instant.isoformat() for instant in known.instants("daily")]


def test_again_it_finds_everything_done(recipe: Recipe, known: Store) -> None:
    backfill(recipe, known)
    before = left_in(known)

    again = backfill(recipe, known)

    assert {fact["status"] for fact in again} == {"unchanged"}
    assert left_in(known) == before


_CHILD = """
import os, signal, sys
from pathlib import Path
import sqlalchemy as sa
from flows.steps import carry_out_backfill
from pipeline.database import open_database
from pipeline.recipe import load_recipe
from pipeline.store import Store
from tests.database.test_backfill import LATER
from tests.life import START, at_work, training_once

url, folder, trainings, last = sys.argv[1:]
database, count = open_database(url), 0

@sa.event.listens_for(database.engine, "before_cursor_execute")
def before(*_):
    global count
    count += 1
    if count == int(last):
        os.kill(os.getpid(), signal.SIGKILL)

with training_once(Path(trainings)):
    for _ in carry_out_backfill(at_work(load_recipe("daily", Path(folder)), Store(database), LATER), START, LATER):
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


def test_killed_in_the_middle_and_begun_again_it_ends_in_the_same(
    database_url: str,
    recipe: Recipe,
    known: Store,
    few_days: dict[str, list[tuple[Any, ...]]],
    trainings: Path,
) -> None:
    killed_and_resumed(database_url, recipe.folder, trainings, 700)

    assert left_in(known) == few_days
    assert known.broken_promises() == []
