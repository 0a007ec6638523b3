"""A training is shown in MLflow while it runs, in the run that shows it afterwards; MLflow can do it no harm."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pipeline.errors import ModelRefused
from pipeline.records.lineage import ModelVersion, training_key
from pipeline.reporting.model_card import model_card
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.live_progress import ProgressStream
from pipeline.tracking.registry import Registry
from pipeline.training.job import TrainedModel
from pipeline.training.progress import Progress
from tests.storage.small_store import add_model, lineage
from tests.support.examples import NOW, small_recipe


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """A store whose tables are made already: making them may take longer than a training waits for its end."""
    made = Registry(f"sqlite:///{tmp_path}/mlflow.db", lambda: NOW)
    made.check()
    return made


@pytest.fixture
def model(tmp_path: Path, outcome: TrainedModel) -> Iterator[ModelVersion]:
    """The trained model, in a store, trained when the tests' live trainings start."""
    database = open_database(f"sqlite:///{tmp_path}/store.db")
    require_schema(database)
    store = Store(database)
    store.register(small_recipe())
    version = add_model(store, outcome)
    found = store.model("small", version)
    assert found is not None
    yield found
    database.close()


def live(registry: Registry) -> Any:
    return registry.live(small_recipe(), lineage(), training="retrain", reason="no model yet", started_at=NOW)


def epoch(done: int, loss: float, stage: str = "training") -> Progress:
    return {"stage": stage, "done": done, "total": 3, "loss": loss}


def runs(registry: Registry) -> list[Any]:
    found = registry._client.get_experiment_by_name("small")
    return list(registry._client.search_runs([found.experiment_id])) if found else []


def told(registry: Registry, name: str = "live/training_loss") -> list[tuple[int, float]]:
    shown = runs(registry)
    history = registry._client.get_metric_history(shown[0].info.run_id, name) if shown else []
    return sorted((metric.step, metric.value) for metric in history)


def until(happened: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def test_epochs_are_there_while_the_training_still_runs(registry: Registry) -> None:
    with live(registry) as on_progress:
        on_progress(epoch(1, 0.5))
        on_progress(epoch(2, 0.25))
        until(lambda: told(registry) == [(1, 0.5), (2, 0.25)])
        status_before_the_end = runs(registry)[0].info.status
        on_progress(epoch(1, 0.125))

    assert status_before_the_end == "RUNNING"
    assert told(registry) == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert runs(registry)[0].info.status == "FINISHED"
    tags = runs(registry)[0].data.tags
    assert tags["nextperiod.training_key"] == training_key(lineage(), NOW)
    assert tags["nextperiod.reason"] == "no model yet"
    assert tags["nextperiod.data_hash"] == "data"


def test_a_loss_that_is_not_finite_is_left_out_and_each_stage_has_a_curve(registry: Registry) -> None:
    with live(registry) as on_progress:
        for progress in (epoch(1, float("nan")), epoch(2, 0.5), epoch(1, 0.75, "tutorial")):
            on_progress(progress)

    assert told(registry) == [(2, 0.5)]
    assert told(registry, "live/tutorial_loss") == [(3, 0.75)]


def test_a_training_that_is_refused_ends_its_run_as_failed_with_the_reason(registry: Registry) -> None:
    with pytest.raises(ModelRefused, match="not finite"), live(registry):
        raise ModelRefused("the loss is not finite")

    assert runs(registry)[0].info.status == "FAILED"
    assert runs(registry)[0].data.tags["nextperiod.failure"] == "the loss is not finite"


def test_the_same_training_tried_again_goes_on_in_the_same_run(registry: Registry) -> None:
    with pytest.raises(ModelRefused), live(registry):
        raise ModelRefused("the first time")

    with live(registry) as on_progress:
        on_progress(epoch(1, 0.5))

    (run,) = runs(registry)
    assert run.info.status == "FINISHED"
    assert "nextperiod.failure" not in run.data.tags


def test_the_model_is_shown_in_the_run_that_was_live(
    registry: Registry, model: ModelVersion, outcome: TrainedModel
) -> None:
    with live(registry) as on_progress:
        on_progress(epoch(1, 0.5))
    files = {**outcome.files, "network.keras": outcome.keras_archive, "report.html": b"<html>"}

    shown = [
        registry.log_training(small_recipe(), model, files, card=model_card(small_recipe(), model)) for _ in range(2)
    ]

    (run,) = runs(registry)
    assert shown == [run.info.run_id] * 2
    assert run.info.run_name == "small 1"
    assert run.data.tags["nextperiod.model_hash"] == model.model_hash
    assert told(registry) == [(1, 0.5)]
    assert told(registry, "loss/training") == [
        (epoch, pytest.approx(loss, rel=1e-5)) for epoch, loss in enumerate(model.record.loss, start=1)
    ]


def test_mlflow_s_page_offers_the_columns_that_count(registry: Registry) -> None:
    with live(registry):
        pass

    tags = registry._client.get_experiment_by_name("small").tags

    columns = json.loads(json.loads(tags["mlflow.sharedViewState.backtest"])["state"])["selectedColumns"]
    assert columns[:3] == ["metrics.`backtest/mase`", "metrics.`baseline/mase`", "metrics.`skill/mase`"]


def test_the_registered_version_and_its_run_carry_the_model_s_card(
    registry: Registry, model: ModelVersion, outcome: TrainedModel
) -> None:
    files = {**outcome.files, "network.keras": outcome.keras_archive}

    registry.log_training(small_recipe(), model, files, card=model_card(small_recipe(), model, "promoted: the first"))

    (version,) = registry._client.search_model_versions("name = 'small'")
    assert version.description.startswith("# small")
    assert "gate: promoted: the first" in version.description
    assert runs(registry)[0].data.tags["mlflow.note.content"] == version.description


def test_with_mlflow_away_a_training_is_only_warned(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    with live(Registry("http://127.0.0.1:9", lambda: NOW)) as on_progress:
        on_progress(epoch(1, 0.5))

    (warning,) = [record.getMessage() for record in caplog.records if record.name == "pipeline.tracking.live_progress"]
    assert "127.0.0.1:9" in warning
    assert "the epochs are shown when the training is" in warning


class Slow:
    """An MLflow that makes its run only when it is let."""

    def __init__(self) -> None:
        self.let, self.done, self.calls = Event(), Event(), list[str]()

    def begin(self) -> None:
        self.let.wait(60)
        self.calls.append("begin")

    def show(self, epochs: Sequence[tuple[int, Progress]]) -> None:
        self.calls.append("show")

    def end(self, reason: str | None) -> None:
        self.calls.append("end")

    def withdraw(self) -> None:
        self.calls.append("withdraw")
        self.done.set()


def test_an_mlflow_that_hangs_is_left_behind_and_takes_its_late_run_back(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    shown = ProgressStream(slow)
    shown(epoch(1, 0.5))

    shown.end(patience=0.05)

    assert slow.calls == []
    assert "MLflow did not answer within 0.05 s" in caplog.text
    slow.let.set()
    assert slow.done.wait(60)
    assert slow.calls == ["begin", "withdraw"]


def test_a_server_that_never_answers_holds_a_training_up_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()

        with live(Registry(f"http://127.0.0.1:{silent.getsockname()[1]}", lambda: NOW)) as on_progress:
            on_progress(epoch(1, 0.5))

        assert time.monotonic() - began < 60
