"""A store of many series of months, of which every table that grows with them has rows: for plans and times of views."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from pipeline.storage.batches import BatchHeader
from pipeline.storage.bulk_load import load
from pipeline.storage.engine import Database
from pipeline.storage.statements import Transaction
from pipeline.storage.store import Store
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.observations import TARGET
from tests.support.recipes import build_recipe

RECIPE = "wide"
HORIZON = 18
#: published runs: forecasts of this and of earlier months, all but the newest one scored
NUM_RUNS = 2
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_INSTANT = "2026-01-01 00:00:00.000000+00:00"
#: rows that follow from those of other tables
_DERIVED = (
    "insert into scores (run_number, series_id, step, as_of, observed, error, naive_error, scale, inside_80, inside_95, "
    f"median_error) select run_number, series_id, step, '{_INSTANT}', mean - 1, 1, 2, 1, 1, 1, 1 from forecasts "
    "where step = 1",
    "insert into sample_paths (run_number, series_id, path, step, value) "
    "select run_number, series_id, 1, step, mean from forecasts where run_number = (select max(run_number) from runs)",
    "insert into attributes (series_id, name, batch_id, value) "
    "select series_id, 'region', 1, 'north' from series_variables where variable = ''",
    "insert into rejections (batch_id, line, column_name, series, rule) "
    "select 1, series_id, 'value', series, 'number' from series_variables where variable = ''",
    "insert into revisions (series_id, period, batch_id, value) "
    "select series_id, max(period), 2, 500 from observations where batch_id = 1 group by series_id",
    "insert into backtest_errors (series_id, recipe, model_version, num_scored, mae, rmse, mase, smape, baseline, "
    f"baseline_mae, baseline_mase) select series_id, '{RECIPE}', 1, 12, 1, 1, 0.5, 1, 'naive', 2, 1 "
    "from series_variables where variable = ''",
)


def name_of_series(number: int) -> str:
    """The name of a series, counted from 0."""
    return f"series-{number:06d}"


def write_wide_store(database: Database, num_series: int, num_periods: int) -> None:
    """Fill a store with as many series, their covariate, forecasts, scores, paths, rejected rows and errors.

    The newest value of each series is revised to 500, which no interval held.
    """
    store = Store(database)
    store.recipes.register(build_recipe(RECIPE, horizon=HORIZON, source={"zone": "Europe/Amsterdam"}))
    names = [name_of_series(n) for n in range(num_series)]
    for content in ("first", "second"):
        with store.batches.write(BatchHeader(recipe=RECIPE, source="wide.csv", content_hash=content), _NOW) as intake:
            intake.register([*((name, TARGET) for name in names), *((name, "price") for name in names)])
            intake.finish(dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0), [])
    first = np.datetime64("2000-01-01", "us")
    months = np.append(first, Frequency("MS").after(first, num_periods - 1))
    with database.write() as transaction:
        _observe(transaction, months, num_periods)
        transaction.connection.exec_driver_sql(_A_MODEL)
    for n in range(NUM_RUNS):
        with database.write() as transaction:
            _publish(transaction, months[-NUM_RUNS + n], num_series)
    with database.write() as transaction:
        for statement in _DERIVED:
            transaction.connection.exec_driver_sql(statement)
    gather_statistics(database)


def gather_statistics(database: Database) -> None:
    """Let PostgreSQL count rows, as it does by itself in a while after a large load."""
    if database.url.get_backend_name() == "postgresql":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum analyze")


def _series_ids(transaction: Transaction, variable: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    rows = transaction.rows("series_of_recipe", recipe=RECIPE, variable=variable)
    return np.array(sorted(row["series_id"] for row in rows), np.int64)


def _observe(transaction: Transaction, months: np.ndarray, num_periods: int) -> None:
    """Values of all months, and the prices of the last year."""
    rng = np.random.default_rng(0)
    for variable, periods in ((TARGET, months), ("price", months[-12:])):
        ids = _series_ids(transaction, variable)
        columns = {
            "series_id": np.repeat(ids, len(periods)),
            "period": np.tile(periods, len(ids)),
            "value": rng.normal(100, 10, len(ids) * len(periods)),
            "batch_id": 1,
        }
        load(transaction, "observations", columns)


def _publish(transaction: Transaction, origin: np.datetime64, num_series: int) -> None:
    """A run of 100 in each step, with an interval of 8 to both sides."""
    ids = _series_ids(transaction, TARGET)
    connection = transaction.connection
    connection.exec_driver_sql(_A_RUN.format(str(origin)[:10], num_series, num_series * HORIZON))
    number = int(connection.exec_driver_sql("select max(run_number) from runs").scalar_one())
    steps = np.arange(1, HORIZON + 1)
    load(
        transaction,
        "run_steps",
        {"run_number": number, "step": steps.astype(np.int32), "period": Frequency("MS").after(origin, HORIZON)},
    )
    load(
        transaction,
        "run_series",
        {
            "run_number": number,
            "series_id": ids,
            "method": "lstm",
            "network_steps": np.full(len(ids), HORIZON, np.int32),
        },
    )
    sides = {"mean": 0, "lower_95": -8, "lower_80": -5, "median": 0, "upper_80": 5, "upper_95": 8}
    count = len(ids) * HORIZON
    load(
        transaction,
        "forecasts",
        {
            "run_number": number,
            "series_id": np.repeat(ids, HORIZON),
            "step": np.tile(steps, len(ids)).astype(np.int32),
            **{name: np.full(count, 100.0 + side) for name, side in sides.items()},
        },
    )
    connection.exec_driver_sql(
        f"update runs set status = 'published', published_at = '{_INSTANT}' where run_number = {number}"
    )


_A_MODEL = f"""
insert into models (recipe, model_version, model_hash, training, reason, cutoff, as_of, data_hash, recipe_fingerprint,
    training_fingerprint, code_version, record, trained_at)
values ('{RECIPE}', 1, 'm', 'retrain', 'first', '2000-01-01', '{_INSTANT}', 'd', 'f', 'f', 'c', '{{}}', '{_INSTANT}')"""
_A_RUN = f"""
insert into runs (run_id, recipe, kind, origin, as_of, status, data_hash, recipe_fingerprint, model_version, model_hash,
    code_version, num_series, num_fallback, num_rows, content_hash, expected_next_by)
values ('run-{{0}}', '{RECIPE}', 'live', '{{0}}', '{_INSTANT}', 'staged', 'd', 'f', 1, 'm', 'c', {{1}}, 0, {{2}}, 'h',
    '{_INSTANT}')"""
