"""Many series at once: no statement looks at each of them for each of the others."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.forecasting.calibration import WINDOW
from pipeline.records.lineage import ModelVersion
from pipeline.storage.batches import BatchHeader
from pipeline.storage.engine import Database
from pipeline.storage.scores import MAX_OUTCOMES
from pipeline.storage.store import Store
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.observations import TARGET
from tests.storage.raw_sql import change
from tests.storage.small_store import publish
from tests.support.examples import small_recipe

NUM_SERIES = 30_000
#: seconds; in order it takes a fraction of one, pair by pair it takes minutes
MOST = 30
#: each step turned out to be 1 too high
SCORED = """
insert into scores (run_number, series_id, step, as_of, observed, error, naive_error, scale, inside_80, inside_95)
select run_number, series_id, step, :as_of, mean - 1, 1, 1, 1, 1, 1 from forecasts"""
NAMES = tuple(f"series {n:05d}" for n in range(NUM_SERIES))


@pytest.fixture
def hurried(database: Database) -> Database:
    """No statement may take long; SQLite counts a step for each row that it looks at."""

    @sa.event.listens_for(database.engine, "begin")
    def _hurry(connection: sa.Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        if database.url.get_backend_name() == "postgresql":
            driver.execute(f"set statement_timeout = '{MOST}s'")
            return
        steps = iter(range(20_000))
        driver.set_progress_handler(lambda: next(steps, None) is None, 100_000)

    return database


def test_wide_forecasts_are_published_and_read_back(
    hurried: Database, observed_store: Store, model: ModelVersion
) -> None:
    with observed_store.batches.write(
        BatchHeader(recipe=small_recipe().name, source="wide", content_hash="wide"), datetime.now(UTC)
    ) as intake:
        intake.register([(name, TARGET) for name in NAMES])
        intake.finish(dict.fromkeys(("num_read", "num_new", "num_revised", "num_same"), 0), [])

    for origin in ("2023-04-01", "2023-05-01"):  # of the second one the planner's statistics know nothing
        made = wide_forecast(np.datetime64(origin, "us"))
        run, is_new = publish(observed_store, made, model)

        assert is_new
        found = observed_store.runs.read_forecast(run.run_id)
        np.testing.assert_array_equal(found.mean, made.mean)
        assert found.series == NAMES
        with hurried.write() as transaction:
            transaction.connection.exec_driver_sql("analyze")

    change(hurried, SCORED, as_of=datetime.now(UTC).isoformat(" "))
    began = time.perf_counter()
    outcomes = observed_store.scores.outcomes(
        small_recipe(), "live", origin=np.datetime64("2024-01-01", "us"), as_of=datetime.max.replace(tzinfo=UTC)
    )
    by_period = observed_store.scores.outcomes_by_period(
        "small", "live", model_version=model.model_version, as_of=datetime.max.replace(tzinfo=UTC)
    )

    assert time.perf_counter() - began < MOST / 10
    assert len(outcomes) == 2 * 3 * (MAX_OUTCOMES // (3 * (WINDOW + 3)))
    assert len(by_period) == 2


def wide_forecast(origin: np.datetime64) -> Forecast:
    mean = np.arange(3.0 * NUM_SERIES).reshape(NUM_SERIES, 3)
    return Forecast(
        series=NAMES,
        origin=origin,
        periods=small_recipe().grid.after(origin, 3),
        mean=mean,
        quantiles=mean[:, :, None] + np.arange(-2.0, 3.0),
        method=("lstm",) * NUM_SERIES,
        reason=(None,) * NUM_SERIES,
        baseline=mean,
        scale=np.ones(NUM_SERIES),
    )
