"""The views are the contract: the same columns in the same order in both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from pipeline.records.lineage import ModelVersion
from pipeline.storage.engine import Database
from pipeline.storage.schema import VIEWS
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows, value
from tests.storage.small_store import forecast, publish

FORECAST = (
    "recipe, series, period, step, mean, lower_95, lower_80, median, upper_80, upper_95, method, reason, "
    "model_version, origin, as_of, published_at, run_id"
)
OTHER_TIMES = "period_at, period_local"
CONTRACT = {
    "latest_forecasts": f"{FORECAST}, {OTHER_TIMES}",
    "forecast_history": f"{FORECAST}, kind, {OTHER_TIMES}",
    "current_observations": f"recipe, series, period, value, recorded_at, {OTHER_TIMES}",
    "forecast_accuracy": (
        "recipe, model_version, series, step, num_scored, mae, mase, smape, bias, coverage_80, coverage_95, skill"
    ),
    "anomalies": f"recipe, series, period, value, lower_95, upper_95, run_id, {OTHER_TIMES}",
    "inactive_series": "recipe, series, last_period, origin, run_id",
    "recipe_status": (
        "recipe, latest_origin, published_at, expected_next_by, is_stale, num_series, num_fallback, model_version, "
        "model_age_days, last_attempt_at, last_attempt_status, last_error"
    ),
    "rejected_observations": (
        f"recipe, source, line, column_name, series, text, rule, rejected_at, period, {OTHER_TIMES}"
    ),
    "latest_paths": f"recipe, series, path, step, period, value, origin, run_id, {OTHER_TIMES}",
    "recipes": (
        "recipe, description, unit, frequency, calendar, zone, season_length, horizon, source_kind, architecture, "
        "training_policy, baseline, minimum, maximum, model_version, fingerprint"
    ),
    "series": "recipe, series, attributes, is_active, first_period, last_period, num_observations",
    "covariates": f"recipe, series, covariate, period, value, recorded_at, {OTHER_TIMES}",
    "attempts": "attempt_id, recipe, command, started_at, finished_at, status, error",
    "decisions": "recipe, decided_at, what, outcome, reason, kind, model_version, batch_id, as_of",
    "model_history": (
        "recipe, model_version, training, reason, trained_at, cutoff, as_of, skill, is_champion, promoted_at, "
        "replaced_at, model_hash, mlflow_run_id, data_hash, recipe_fingerprint, code_version"
    ),
    "backtest_by_series": (
        "recipe, model_version, series, num_scored, mae, rmse, mase, smape, baseline, baseline_mae, baseline_mase, skill"
    ),
}


def test_the_views_of_the_contract_are_all_views() -> None:
    assert set(CONTRACT) == set(VIEWS)


def test_every_view_has_the_columns_of_the_contract_in_their_order(database: Database) -> None:
    for view, columns in CONTRACT.items():
        with database.read() as transaction:
            found = transaction.connection.execute(sa.text(f"select * from {view}"))
            assert list(found.keys()) == columns.split(", "), view


@pytest.mark.parametrize("view", ["latest_forecasts", "forecast_history"])
def test_a_day_written_as_text_bounds_the_periods_from_below(
    model: ModelVersion, observed_store: Store, view: str
) -> None:
    publish(observed_store, forecast(), model)

    counted = f"select count(*) from {view} where period >= :day".replace(":day", "'{}'")
    found = {
        day: value(observed_store.database, counted.format(day))
        for day in ("2023-01-01", "2023-05-01", "2023-05-02", "2023-07-01", "2024-01-01")
    }
    assert found == {"2023-01-01": 3, "2023-05-01": 3, "2023-05-02": 2, "2023-07-01": 1, "2024-01-01": 0}


def test_periods_read_as_their_start(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    found = rows(observed_store.database, "select cast(period as text), cast(origin as text) from latest_forecasts")
    midnight = "" if observed_store.database.engine.dialect.name == "sqlite" else " 00:00:00"
    assert sorted(found)[0] == (f"2023-05-01{midnight}", f"2023-04-01{midnight}")


def test_a_day_written_as_text_finds_its_period(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    counted = "select count(*) from latest_forecasts where "
    for condition, count in (
        ("period = '2023-05-01'", 1),
        ("period <= '2023-05-01'", 1),
        ("period < '2023-05-01'", 0),
        ("period > '2023-05-01'", 2),
        ("period between '2023-05-01' and '2023-06-01'", 2),
    ):
        assert value(observed_store.database, counted + condition) == count, condition
