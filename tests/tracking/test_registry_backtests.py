"""A backtest in MLflow: a run with one below it for each origin; the same backtest again adds nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.errors import RegistryUnavailable
from pipeline.evaluation.rolling_origin import RollingBacktest
from pipeline.tracking.backtests import BacktestRegistry
from tests.support.examples import NOW, small_recipe
from tests.support.rolling import two_origins


@pytest.fixture
def registry(tmp_path: Path) -> BacktestRegistry:
    """An empty MLflow store."""
    return BacktestRegistry(f"sqlite:///{tmp_path}/mlflow.db", lambda: NOW)


def log(registry: BacktestRegistry, backtest: RollingBacktest, days: int = 0) -> str:
    return registry.log_backtest(small_recipe(), backtest, {"recipe": "small"}, NOW + timedelta(days=days))


def runs_of(registry: BacktestRegistry) -> dict[str, Any]:
    """By origin."""
    client = MlflowClient(registry.tracking_uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    return {run.data.tags["nextperiod.origin"]: run for run in runs}


def test_a_backtest_is_a_run_with_one_below_it_for_each_origin(registry: BacktestRegistry) -> None:
    made = two_origins()

    run_id = log(registry, made)

    runs = runs_of(registry)
    assert sorted(runs) == ["2020-05-01", "2020-08-01", "all"]
    whole, below = runs.pop("all"), list(runs.values())
    assert (whole.info.run_id, whole.info.status) == (run_id, "FINISHED")
    assert {run.data.tags["mlflow.parentRunId"] for run in below} == {run_id}
    assert {run.data.tags["nextperiod.backtest"] for run in (*below, whole)} == {"fingerprint"}
    assert {run.info.status for run in below} == {"FINISHED"}
    assert whole.data.params["origins"] == "2"
    assert whole.data.metrics["backtest/mase"] == pytest.approx(15 / 2 / 8)
    assert whole.data.metrics["baseline/seasonal-naive/mase"] == pytest.approx(made.scores()["seasonal-naive"]["mase"])
    assert runs["2020-05-01"].data.metrics["backtest/mae"] == pytest.approx(2)
    assert runs["2020-08-01"].data.metrics["backtest/mae"] == pytest.approx(9 / 5)
    assert runs["2020-08-01"].data.params["known"] == "then"


def test_metrics_by_step_are_counted_from_one(registry: BacktestRegistry) -> None:
    run_id = log(registry, two_origins())

    history = MlflowClient(registry.tracking_uri).get_metric_history(run_id, "backtest/coverage_80_by_step")

    assert [(one.step, one.value) for one in history] == [(1, 1), (2, 1), (3, 0.5)]


def test_the_same_backtest_again_is_the_same_run_and_another_another(registry: BacktestRegistry) -> None:
    first = log(registry, two_origins())

    assert log(registry, two_origins(), days=1) == first
    assert len(runs_of(registry)) == 3
    assert log(registry, replace(two_origins(), fingerprint="other"), days=1) != first


def test_what_was_cut_off_is_finished_by_the_next_and_nothing_is_there_twice(registry: BacktestRegistry) -> None:
    run_id = log(registry, two_origins())
    client = MlflowClient(registry.tracking_uri)
    client.update_run(run_id, status="RUNNING")
    client.delete_run(runs_of(registry)["2020-08-01"].info.run_id)

    assert log(registry, two_origins(), days=1) == run_id

    assert sorted(runs_of(registry)) == ["2020-05-01", "2020-08-01", "all"]
    assert len(client.get_metric_history(run_id, "backtest/mase")) == 1
    assert [one.path for one in client.list_artifacts(run_id)] == ["backtest.json"]


def test_more_metrics_than_are_taken_at_once_are_all_logged(
    registry: BacktestRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.tracking.backtests._AT_ONCE", 7)

    run_id = log(registry, two_origins())

    client = MlflowClient(registry.tracking_uri)
    assert len(client.get_metric_history(run_id, "baseline/drift/mase_by_step")) == 3
    assert "backtest/bias" in client.get_run(run_id).data.metrics


def test_a_registry_that_is_away_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(RegistryUnavailable, match=r"file/mlflow.db cannot be used"):
        log(BacktestRegistry(f"sqlite:///{tmp_path}/file/mlflow.db", lambda: NOW), two_origins())
