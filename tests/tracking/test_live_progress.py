"""A training is logged in MLflow while it runs, in the run that holds it afterwards; MLflow cannot harm it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from mlflow.entities import ViewType

from pipeline.errors import ModelRefused
from pipeline.records.lineage import ModelVersion, training_key
from pipeline.reporting.model_card import render_model_card
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.live_progress import LiveRun, ProgressStream, open_live_run
from pipeline.tracking.registry import Registry
from pipeline.training.process_files import TrainedModel
from pipeline.training.progress import Progress
from tests.storage.small_store import add_model, lineage
from tests.support.examples import NOW, small_recipe


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store whose tables exist: creating them may take longer than a training waits for MLflow."""
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", lambda: NOW)
    registry.check()
    return registry


@pytest.fixture
def model(tmp_path: Path, outcome: TrainedModel) -> Iterator[ModelVersion]:
    """The trained model, in a store; its training started when the streamed trainings of the tests start."""
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    store = Store(database)
    store.recipes.register(small_recipe())
    version = add_model(store, outcome)
    stored = store.models.by_version("small", version)
    assert stored is not None
    yield stored
    database.close()


def stream_training(registry: Registry) -> AbstractContextManager[ProgressStream]:
    return registry.stream_training(
        small_recipe(), lineage(), training="retrain", reason="no model yet", started_at=NOW
    )


def epoch(done: int, loss: float, stage: str = "training") -> Progress:
    return {"stage": stage, "done": done, "total": 3, "loss": loss}


def runs(registry: Registry) -> list[Any]:
    experiment = registry.client.mlflow.get_experiment_by_name("small")
    return list(registry.client.mlflow.search_runs([experiment.experiment_id])) if experiment else []


def deleted_runs(registry: Registry) -> list[Any]:
    experiment = registry.client.mlflow.get_experiment_by_name("small")
    if experiment is None:
        return []
    return list(registry.client.mlflow.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY))


def logged(registry: Registry, metric_name: str = "live/training_loss") -> list[tuple[int, float]]:
    started = runs(registry)
    history = registry.client.mlflow.get_metric_history(started[0].info.run_id, metric_name) if started else []
    return sorted((metric.step, metric.value) for metric in history)


def wait_until(happened: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_epochs_are_logged_while_the_training_runs(registry: Registry) -> None:
    with stream_training(registry) as on_progress:
        on_progress(epoch(1, 0.5))
        on_progress(epoch(2, 0.25))
        wait_until(lambda: logged(registry) == [(1, 0.5), (2, 0.25)])
        status_before_the_end = runs(registry)[0].info.status
        on_progress(epoch(1, 0.125))

    assert status_before_the_end == "RUNNING"
    assert logged(registry) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert runs(registry)[0].info.status == "FINISHED"
    tags = runs(registry)[0].data.tags
    assert tags["nextperiod.training_key"] == training_key(lineage(), NOW)
    assert tags["nextperiod.reason"] == "no model yet"
    assert tags["nextperiod.data_hash"] == "data"


def test_a_loss_that_is_not_finite_is_left_out_and_each_stage_has_a_curve(registry: Registry) -> None:
    with stream_training(registry) as on_progress:
        for progress in (epoch(1, float("nan")), epoch(2, 0.5), epoch(1, 0.75, "tutorial")):
            on_progress(progress)

    assert logged(registry) == [(2, 0.5)]
    assert logged(registry, "live/tutorial_loss") == [(3, 0.75)]


def test_a_training_that_is_refused_ends_its_run_as_failed_with_the_reason(registry: Registry) -> None:
    with pytest.raises(ModelRefused, match="not finite"), stream_training(registry):
        raise ModelRefused("the loss is not finite")

    assert runs(registry)[0].info.status == "FAILED"
    assert runs(registry)[0].data.tags["nextperiod.failure"] == "the loss is not finite"


def test_the_same_training_tried_again_continues_its_run(registry: Registry) -> None:
    with pytest.raises(ModelRefused), stream_training(registry):
        raise ModelRefused("the first time")

    with stream_training(registry) as on_progress:
        on_progress(epoch(1, 0.5))

    (run,) = runs(registry)
    assert run.info.status == "FINISHED"
    assert "nextperiod.failure" not in run.data.tags


def test_the_model_is_logged_in_the_run_that_was_streamed(
    registry: Registry, model: ModelVersion, outcome: TrainedModel
) -> None:
    with stream_training(registry) as on_progress:
        on_progress(epoch(1, 0.5))
    files = {**outcome.files, "network.keras": outcome.keras_archive, "report.html": b"<html>"}

    run_ids = [
        registry.log_training(small_recipe(), model, files, card=render_model_card(small_recipe(), model))
        for _ in range(2)
    ]

    (run,) = runs(registry)
    assert run_ids == [run.info.run_id] * 2
    assert run.info.run_name == "small 1"
    assert run.data.tags["nextperiod.model_hash"] == model.model_hash
    assert logged(registry) == [(1, 0.5)]
    assert logged(registry, "loss/training") == [
        (epoch, pytest.approx(loss, rel=1e-5)) for epoch, loss in enumerate(model.record.loss, start=1)
    ]


def test_the_experiment_has_a_saved_view(registry: Registry) -> None:
    with stream_training(registry):
        pass

    tags = registry.client.mlflow.get_experiment_by_name("small").tags

    columns = json.loads(json.loads(tags["mlflow.sharedViewState.backtest"])["state"])["selectedColumns"]
    assert columns[:3] == ["metrics.`backtest/mase`", "metrics.`baseline/mase`", "metrics.`skill/mase`"]


def test_the_registered_version_and_its_run_carry_the_model_s_card(
    registry: Registry, model: ModelVersion, outcome: TrainedModel
) -> None:
    files = {**outcome.files, "network.keras": outcome.keras_archive}

    registry.log_training(
        small_recipe(), model, files, card=render_model_card(small_recipe(), model, "promoted: the first")
    )

    (version,) = registry.client.mlflow.search_model_versions("name = 'small'")
    assert version.description.startswith("# small")
    assert "gate: promoted: the first" in version.description
    assert runs(registry)[0].data.tags["mlflow.note.content"] == version.description


def test_without_mlflow_a_training_only_warns(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with stream_training(Registry("http://127.0.0.1:9", lambda: NOW)) as on_progress:
        on_progress(epoch(1, 0.5))

    (warning,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.tracking.live_progress"]
    assert "127.0.0.1:9" in warning
    assert "epochs will be logged after it ends" in warning


def test_a_run_that_mlflow_opens_too_late_is_deleted(registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
    may_open = Event()

    def open_late() -> LiveRun:
        may_open.wait(60)
        return open_live_run(
            registry.client, small_recipe(), lineage(), training="retrain", reason="no model yet", started_at=NOW
        )

    stream = ProgressStream(open_late)
    stream(epoch(1, 0.5))

    stream.end(patience=0.05)

    assert "MLflow did not answer within 0.05 s" in caplog.text
    assert runs(registry) == []
    may_open.set()
    wait_until(lambda: len(deleted_runs(registry)) == 1)
    assert runs(registry) == []
    assert "live/training_loss" not in deleted_runs(registry)[0].data.metrics


def test_a_server_that_never_answers_delays_a_training_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()

        with stream_training(Registry(f"http://127.0.0.1:{silent.getsockname()[1]}", lambda: NOW)) as on_progress:
            on_progress(epoch(1, 0.5))

        assert time.monotonic() - began < 60
