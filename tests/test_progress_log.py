"""Work that takes long says in the log what runs, for how long, and how far it is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from queue import SimpleQueue

import pytest

from flows.context import RunContext, utc_now
from pipeline.config.recipe import Recipe
from pipeline.jobs.ingest import ingest_source
from pipeline.progress_log import INTERVAL_SECONDS, log_progress, report_progress
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry
from pipeline.training import process
from tests.support.examples import NOW, small_csv, small_recipe


class Lines(logging.Handler):
    """The lines that are logged, in a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: SimpleQueue[str] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self.queue.put(record.getMessage())

    def next(self) -> str:
        return self.queue.get(timeout=60)


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler, logger = Lines(), logging.getLogger("pipeline.progress_log")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_a_line_says_what_runs_for_how_long_and_how_far_it_is(lines: Lines) -> None:
    clock = count(0, 45)

    with log_progress("train of milk", interval=0.001, clock=lambda: next(clock)):
        assert lines.next() == "train of milk has run for 45 s"
        report_progress("epoch 3 of at most 100")
        said = lines.next()
        while "epoch" not in said:
            said = lines.next()

    assert said.endswith(" s: epoch 3 of at most 100")
    assert said.startswith("train of milk has run for ")
    assert " min " in said


def test_nothing_is_logged_of_work_that_ends_soon_nor_after_its_end(lines: Lines) -> None:
    with log_progress("train of milk"):
        pass
    report_progress("epoch 3")

    assert lines.queue.empty()
    assert INTERVAL_SECONDS == 30


def test_an_epoch_of_the_training_process_is_reported(lines: Lines) -> None:
    with log_progress("train of milk", interval=0.001):
        process._report('{"stage": "origin 2 of 5", "done": 3, "total": 100, "loss": 0.123456}', None)
        said = lines.next()
        while "origin" not in said:
            said = lines.next()

    assert said.endswith(": origin 2 of 5: epoch 3 of at most 100, loss 0.1235")


def test_an_ingest_reports_its_rows(store: Store, tmp_path: Path, lines: Lines) -> None:
    (tmp_path / "small.csv").write_text(small_csv())
    store.recipes.register(small_recipe())

    with log_progress("ingest of small", interval=0.001):
        ingest_source(small_recipe(tmp_path), store, NOW)
        said = lines.next()
        while "read" not in said:
            said = lines.next()

    assert said.endswith(": 40 rows read")


def test_each_step_of_a_cycle_is_logged(
    store: Store, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.progress_log.INTERVAL_SECONDS", 0.001)
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", utc_now)
    context = RunContext(recipe=small_recipe(), store=store, registry=registry, clock=utc_now, now=NOW)

    def wait_for_a_line(_recipe: Recipe, _store: Store) -> str:
        return lines.next()

    assert context.run_step("score", wait_for_a_line).startswith("score of small has run for ")
