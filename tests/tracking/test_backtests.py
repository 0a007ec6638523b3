"""A backtest in MLflow: a run with a child run for each origin; logging it again adds nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RegistryUnavailable
from pipeline.evaluation.rolling_origin import RollingBacktest
from pipeline.tracking.backtests import log_backtest
from pipeline.tracking.client import TrackingClient
from tests.support.examples import NOW, small_recipe
from tests.support.rolling import two_origins


@pytest.fixture
def client(tmp_path: Path) -> TrackingClient:
    """An empty MLflow store."""
    return TrackingClient(f"sqlite:///{tmp_path}/mlflow.db", lambda: NOW)


def log(client: TrackingClient, backtest: RollingBacktest, days: int = 0) -> str:
    return log_backtest(client, small_recipe(), backtest, {"recipe": "small"}, NOW + timedelta(days=days))


def runs_by_origin(client: TrackingClient) -> dict[str, Any]:
    experiment = client.mlflow.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.mlflow.search_runs([experiment.experiment_id])
    return {run.data.tags["nextperiod.origin"]: run for run in runs}


def test_a_backtest_is_a_run_with_a_child_run_for_each_origin(client: TrackingClient) -> None:
    backtest = two_origins()

    run_id = log(client, backtest)

    runs = runs_by_origin(client)
    assert sorted(runs) == ["2020-05-01", "2020-08-01", "all"]
    parent, children = runs.pop("all"), list(runs.values())
    assert (parent.info.run_id, parent.info.status) == (run_id, "FINISHED")
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {run_id}
    assert {run.data.tags["nextperiod.backtest"] for run in (*children, parent)} == {"fingerprint"}
    assert {run.info.status for run in children} == {"FINISHED"}
    assert parent.data.params["origins"] == "2"
    assert parent.data.metrics["backtest/mase"] == pytest.approx(15 / 2 / 8)
    assert parent.data.metrics["baseline/seasonal-naive/mase"] == pytest.approx(
        backtest.scores()["seasonal-naive"]["mase"]
    )
    assert runs["2020-05-01"].data.metrics["backtest/mae"] == pytest.approx(2)
    assert runs["2020-08-01"].data.metrics["backtest/mae"] == pytest.approx(9 / 5)
    assert runs["2020-08-01"].data.params["known"] == "then"


def test_metrics_by_step_are_counted_from_one(client: TrackingClient) -> None:
    run_id = log(client, two_origins())

    history = client.mlflow.get_metric_history(run_id, "backtest/coverage_80_by_step")

    assert [(metric.step, metric.value) for metric in history] == [(1, 1), (2, 1), (3, 0.5)]


def test_the_same_backtest_gives_the_same_run_and_another_backtest_another_run(client: TrackingClient) -> None:
    first = log(client, two_origins())

    assert log(client, two_origins(), days=1) == first
    assert len(runs_by_origin(client)) == 3
    assert log(client, replace(two_origins(), fingerprint="other"), days=1) != first


def test_a_backtest_cut_off_half_way_is_completed_without_duplicates(client: TrackingClient) -> None:
    run_id = log(client, two_origins())
    client.mlflow.update_run(run_id, status="RUNNING")
    client.mlflow.delete_run(runs_by_origin(client)["2020-08-01"].info.run_id)

    assert log(client, two_origins(), days=1) == run_id

    assert sorted(runs_by_origin(client)) == ["2020-05-01", "2020-08-01", "all"]
    assert len(client.mlflow.get_metric_history(run_id, "backtest/mase")) == 1
    assert [artifact.path for artifact in client.mlflow.list_artifacts(run_id)] == ["backtest.json"]


def test_more_metrics_than_mlflow_takes_at_once_are_all_logged(
    client: TrackingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.tracking._tracking_service.client.MAX_METRICS_PER_BATCH", 7)

    run_id = log(client, two_origins())

    assert len(client.mlflow.get_metric_history(run_id, "baseline/drift/mase_by_step")) == 3
    assert "backtest/bias" in client.mlflow.get_run(run_id).data.metrics


def test_an_error_names_the_store_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RegistryUnavailable, match=r"file/mlflow.db cannot be used"):
        log(TrackingClient(f"sqlite:///{tmp_path}/file/mlflow.db", lambda: NOW), two_origins())
