"""A single step is retried like the same step within a cycle."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.context import RunContext, add_retries
from flows.steps import (
    run_forecast,
    run_ingest,
    run_sample_paths,
    run_scoring,
    run_training_step,
)
from pipeline.errors import NoObservations, NothingHeld, Transient
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry
from tests.support.examples import NOW, small_csv, small_recipe


@pytest.fixture
def calls() -> Counter[str]:
    """How often each job was called."""
    return Counter()


@pytest.fixture
def context(tmp_path: Path, calls: Counter[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[RunContext]:
    """The small recipe, whose jobs find something unavailable at their first call."""
    monkeypatch.setattr("flows.context.RETRY_AFTER_SECONDS", [0, 0, 0])
    (tmp_path / "small.csv").write_text(small_csv(), "utf-8")
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)

    def unavailable_once(job: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            calls[job.__name__] += 1
            if calls[job.__name__] == 1:
                raise Transient("away")
            return job(*arguments, **options)

        return add_retries(called)

    yield RunContext(
        recipe=small_recipe(tmp_path),
        store=Store(database),
        registry=Registry("sqlite://", lambda: NOW),
        clock=lambda: NOW,
        now=NOW,
        as_step=unavailable_once,
    )
    database.close()


def test_ingest_alone_is_retried(context: RunContext, calls: Counter[str]) -> None:
    assert run_ingest(context).num_new == 40
    assert calls == {"ingest_source": 2}


def test_approving_is_retried(context: RunContext, calls: Counter[str]) -> None:
    with pytest.raises(NothingHeld):
        run_ingest(context, approve=True)
    assert calls == {"approve_batch": 2}


def test_training_alone_is_retried(context: RunContext, calls: Counter[str]) -> None:
    with pytest.raises(NoObservations):
        run_training_step(context)
    assert calls == {"train_model": 2}


def test_forecasting_alone_is_retried(context: RunContext, calls: Counter[str]) -> None:
    with pytest.raises(NoObservations):
        run_forecast(context)
    assert calls == {"publish_forecast": 2}


def test_drawing_sample_paths_is_retried(context: RunContext, calls: Counter[str], tmp_path: Path) -> None:
    with pytest.raises(NoObservations):
        run_sample_paths(context, num_paths=1, parquet=tmp_path / "paths.parquet", seed=None)
    assert calls == {"publish_forecast": 2}


def test_scoring_alone_is_retried(context: RunContext, calls: Counter[str]) -> None:
    assert run_scoring(context) == 0
    assert calls == {"score_forecasts": 2}


def test_the_steps_of_a_cycle_import_nothing_that_only_other_commands_need() -> None:
    heavy = {"scipy", "matplotlib", "plotly", "mlflow", "prefect", "tensorflow"}
    program = f"import sys, flows.steps; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
