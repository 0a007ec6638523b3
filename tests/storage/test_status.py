"""Staleness is a fact that SQL tells, beside how the last attempt went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from pipeline.errors import BatchRefused, SourceUnavailable
from pipeline.jobs.attempt import record_attempt
from pipeline.records.lineage import ModelVersion
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows, value
from tests.storage.small_store import NEVER, forecast, publish
from tests.support.examples import NOW, small_recipe

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def attempts(store: Store) -> list[tuple[str, str]]:
    """All attempts that are on record, oldest first."""
    return rows(store.database, "select command, status from attempts order by attempt_id")


def attempt(store: Store, status: str, error: str | None = None, command: str = "run", hours: int = 0) -> None:
    """An attempt that ended so."""
    attempt_id = store.recipes.begin_attempt("small", command, NOW + hours * HOUR)
    store.recipes.end_attempt(attempt_id, status, error, NOW + hours * HOUR)


def test_a_recipe_that_never_published_is_stale(store: Store) -> None:
    store.recipes.register(small_recipe())

    (status,) = store.recipes.status()

    assert status["recipe"] == "small"
    assert status["is_stale"]
    assert all(
        status[name] is None
        for name in (
            "latest_origin", "published_at", "expected_next_by", "num_series", "num_fallback", "model_version",
            "model_age_days", "last_attempt_at", "last_attempt_status", "last_error",
        )
    )  # fmt: skip


@pytest.mark.parametrize(("expected_next_by", "is_stale"), [(NEVER, False), (LONG_AGO, True)])
def test_a_forecast_is_stale_when_the_next_one_is_overdue(
    model: ModelVersion, observed_store: Store, expected_next_by: datetime, is_stale: bool
) -> None:
    publish(observed_store, forecast(), model, expected_next_by=expected_next_by)

    (status,) = observed_store.recipes.status()

    assert bool(status["is_stale"]) is is_stale
    assert status["latest_origin"] == np.datetime64("2023-04-01", "us")
    assert status["published_at"] == NOW
    assert status["expected_next_by"] == expected_next_by
    assert (status["num_series"], status["num_fallback"], status["model_version"]) == (1, 0, 1)


def test_staleness_is_exact_to_the_second(model: ModelVersion, observed_store: Store) -> None:
    present = datetime.now(UTC)
    publish(observed_store, forecast(), model, expected_next_by=present + HOUR)
    assert not value(observed_store.database, "select is_stale from recipe_status")

    publish(observed_store, forecast(), model, data_hash="revised", expected_next_by=present - timedelta(seconds=1))
    assert value(observed_store.database, "select is_stale from recipe_status")


def test_the_age_of_the_model_is_in_days(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    age = value(observed_store.database, "select model_age_days from recipe_status")

    assert age == pytest.approx((datetime.now(UTC) - NOW) / timedelta(days=1), abs=0.01)


def test_a_backfill_does_not_end_staleness(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model, kind="backfill")

    assert observed_store.recipes.status()[0]["is_stale"]
    assert observed_store.recipes.status()[0]["latest_origin"] is None


def test_the_last_attempt_is_shown_with_its_error(store: Store) -> None:
    store.recipes.register(small_recipe())
    attempt(store, "published")
    attempt(store, "failed", "SourceUnavailable: small.csv", hours=1)

    (status,) = store.recipes.status()

    assert (status["last_attempt_status"], status["last_error"]) == ("failed", "SourceUnavailable: small.csv")
    assert status["last_attempt_at"] == NOW + HOUR


def test_an_attempt_that_is_under_way_is_shown_as_running(store: Store) -> None:
    store.recipes.register(small_recipe())

    store.recipes.begin_attempt("small", "run", NOW)

    assert store.recipes.status()[0]["last_attempt_status"] == "running"


def test_the_last_good_forecast_stays_through_a_failed_attempt(model: ModelVersion, observed_store: Store) -> None:
    publish(observed_store, forecast(), model)

    attempt(observed_store, "failed", "the source is away")

    (status,) = observed_store.recipes.status()
    assert status["latest_origin"] == np.datetime64("2023-04-01", "us")
    assert not status["is_stale"]
    assert len(observed_store.runs.latest_forecasts("small")) == 3


def test_idle_attempts_share_one_record(store: Store) -> None:
    for hours in range(5):
        attempt(store, "unchanged", hours=hours)

    assert attempts(store) == [("run", "unchanged")]
    assert value(store.database, "select count(*) from attempts where finished_at is not null") == 1


def test_attempts_between_idle_attempts_are_kept(store: Store) -> None:
    attempt(store, "unchanged")
    attempt(store, "failed", "away")
    attempt(store, "unchanged")
    attempt(store, "unchanged")
    attempt(store, "unchanged", command="score")
    attempt(store, "unchanged")

    assert attempts(store) == [
        ("run", "unchanged"), ("run", "failed"), ("run", "unchanged"), ("score", "unchanged"), ("run", "unchanged")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (BatchRefused("small.csv line 3 is no number", source="small.csv"), "refused", "small.csv line 3 is no number"),
        (SourceUnavailable("small.csv cannot be read"), "failed", "small.csv cannot be read"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt: "),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, BaseException) else "",
)
def test_an_attempt_records_how_it_ended(store: Store, error: BaseException, status: str, told: str) -> None:
    with pytest.raises(type(error)), record_attempt(small_recipe(), store, "run", lambda: NOW):
        raise error

    assert rows(store.database, "select recipe, status, error from attempts") == [("small", status, told)]
