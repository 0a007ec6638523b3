"""A training holds a lease, which runs out: who lost it writes nothing any more."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest

from pipeline.errors import Busy, Overtaken
from pipeline.jobs import train
from pipeline.jobs.train import train_model
from pipeline.records.lineage import ModelVersion
from pipeline.storage.batches import BatchHeader
from pipeline.storage.engine import Database
from pipeline.storage.leases import current_holder
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows, value
from tests.storage.small_store import NEVER, add_untrained, at_once, forecast, lineage, take_in
from tests.support.examples import NOW, small_batch, small_recipe

HOUR = timedelta(hours=1)
#: a lease as long as this is over when it begins: nothing in these tests waits
OVER = timedelta(0)


@pytest.fixture
def known(store: Store) -> Store:
    """A store that knows the small recipe and its series."""
    store.recipes.register(small_recipe())
    take_in(store, small_batch(), NOW)
    return store


def publication(model: ModelVersion, fencing_token: int) -> Publication:
    """The small forecast, begun under a fencing token."""
    return Publication(
        recipe=small_recipe(),
        forecast=forecast(),
        model=model,
        lineage=lineage(),
        kind="live",
        expected_next_by=NEVER,
        fencing_token=fencing_token,
    )


def written(database: Database) -> dict[str, int]:
    """Rows of every table that a training or a publication writes to."""
    tables = ("models", "model_files", "outbox", "runs", "run_series", "run_steps", "forecasts")
    return {table: value(database, f"select count(*) from {table}") for table in tables}


def test_the_fencing_token_is_zero_before_the_first_lease(known: Store) -> None:
    assert known.leases.fencing_token("small") == 0


def test_a_leased_recipe_is_busy_and_the_message_names_the_holder(known: Store) -> None:
    assert known.leases.acquire("small", "host:1", HOUR) == 1

    with pytest.raises(Busy) as busy:
        known.leases.acquire("small", "host:2", HOUR)

    assert re.fullmatch(r"host:1 trains small until \d{4}-\d\d-\d\d \d\d:\d\d UTC at the latest", str(busy.value))
    assert rows(known.database, "select epoch, holder from leases") == [(1, "host:1")]


def test_a_holder_cannot_lease_the_recipe_twice(known: Store) -> None:
    known.leases.acquire("small", "host:1", HOUR)

    with pytest.raises(Busy, match="host:1 trains small"):
        known.leases.acquire("small", "host:1", HOUR)


def test_a_lease_does_not_block_another_recipe(known: Store) -> None:
    known.recipes.register(small_recipe().model_copy(update={"name": "other"}))
    known.leases.acquire("small", "host:1", HOUR)

    assert known.leases.acquire("other", "host:2", HOUR) == 1


def test_a_released_lease_can_be_acquired_with_the_next_fencing_token(known: Store) -> None:
    known.leases.release("small", known.leases.acquire("small", "host:1", HOUR))

    assert known.leases.fencing_token("small") == 1
    assert known.leases.acquire("small", "host:2", HOUR) == 2


def test_the_lease_of_a_killed_process_of_this_machine_is_free(known: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    known.leases.acquire("small", f"{socket.gethostname()}:{process.pid}", HOUR)

    assert known.leases.acquire("small", "host:2", HOUR) == 2


@pytest.mark.parametrize("holder", ["{here}", "elsewhere:999999999", "{machine}:someone", "nobody"])
def test_the_lease_of_a_process_that_may_be_alive_is_not_taken(holder: str, known: Store) -> None:
    holder = holder.format(here=current_holder(), machine=socket.gethostname())
    known.leases.acquire("small", holder, HOUR)

    with pytest.raises(Busy, match=f"^{holder} trains small"):
        known.leases.acquire("small", "host:2", HOUR)


@pytest.mark.parametrize("lasts", [OVER, -HOUR])
def test_an_expired_lease_can_be_acquired_and_the_fencing_token_grows(lasts: timedelta, known: Store) -> None:
    for fencing_token in (1, 2, 3):
        assert known.leases.acquire("small", f"host:{fencing_token}", lasts) == fencing_token

    assert known.leases.fencing_token("small") == 3


def test_leases_expire_by_the_clock_of_the_database(known: Store) -> None:
    known.leases.acquire("small", "host:1", HOUR)

    (left,) = rows(
        known.database,
        "select (julianday(expires_at) - julianday('now')) * 86400 from leases"
        if known.database.url.get_backend_name() == "sqlite"
        else "select extract(epoch from expires_at - now()) from leases",
    )

    assert 3590 < left[0] <= 3600.1


def test_a_worker_that_lost_its_lease_cannot_release_the_next_one(known: Store) -> None:
    lost = known.leases.acquire("small", "host:1", OVER)
    known.leases.acquire("small", "host:2", HOUR)

    known.leases.release("small", lost)

    with pytest.raises(Busy, match="host:2 trains small"):
        known.leases.acquire("small", "host:3", HOUR)


def test_releasing_twice_changes_nothing(known: Store) -> None:
    fencing_token = known.leases.acquire("small", "host:1", HOUR)
    known.leases.release("small", fencing_token)
    known.leases.release("small", fencing_token)

    assert known.leases.acquire("small", "host:2", HOUR) == fencing_token + 1


def lose(store: Store) -> tuple[int, int]:
    """A worker takes the recipe and loses it: its fencing token and that of the worker that took over."""
    return store.leases.acquire("small", "host:1", OVER), store.leases.acquire("small", "host:2", HOUR)


def test_a_model_with_an_old_fencing_token_is_not_stored(known: Store) -> None:
    lost, held = lose(known)
    before = written(known.database)

    with pytest.raises(Overtaken, match="^host:2 took small over while this model was trained: run again$"):
        add_untrained(known, fencing_token=lost)

    assert written(known.database) == before
    assert known.models.champion("small") is None
    assert add_untrained(known, fencing_token=held).model_version == 1


def test_a_model_of_a_backfill_with_an_old_fencing_token_is_not_stored(known: Store) -> None:
    lost, _ = lose(known)

    with pytest.raises(Overtaken, match="host:2 took small over"):
        add_untrained(known, fencing_token=lost, publishes=False)

    assert written(known.database)["models"] == 0


def test_a_forecast_with_an_old_fencing_token_is_not_stored(known: Store) -> None:
    model = add_untrained(known, fencing_token=known.leases.fencing_token("small"))
    lost, held = lose(known)
    before = written(known.database)

    with pytest.raises(Overtaken, match="^host:2 took small over while this forecast was made: run again$"):
        known.runs.publish(publication(model, lost), NOW)

    assert written(known.database) == before
    assert known.runs.latest_forecasts("small") == []
    assert known.runs.publish(publication(model, held), NOW)[1]


def test_a_published_forecast_with_an_old_fencing_token_is_refused_too(known: Store) -> None:
    model = add_untrained(known)
    known.runs.publish(publication(model, 0), NOW)
    lose(known)

    with pytest.raises(Overtaken):
        known.runs.publish(publication(model, 0), NOW)

    assert written(known.database)["runs"] == 1


def test_a_worker_with_an_expired_lease_that_nobody_took_may_write(known: Store) -> None:
    """Nobody else has begun: what it made is as good as ever."""
    fencing_token = known.leases.acquire("small", "host:1", OVER)

    model = add_untrained(known, fencing_token=fencing_token)

    assert known.runs.publish(publication(model, fencing_token), NOW)[1]


def test_one_of_eight_workers_at_once_acquires_a_free_lease(known: Store, database_url: str) -> None:
    answers = at_once(database_url, 8, lambda own: own.leases.acquire("small", "host", HOUR))

    assert sorted(type(answer).__name__ for answer in answers) == ["Busy"] * 7 + ["int"]
    assert known.leases.fencing_token("small") == 1


def test_one_of_eight_workers_at_once_acquires_an_expired_lease(known: Store, database_url: str) -> None:
    known.leases.acquire("small", "host:0", OVER)

    answers = at_once(database_url, 8, lambda own: own.leases.acquire("small", "host", HOUR))

    assert sorted(type(answer).__name__ for answer in answers) == ["Busy"] * 7 + ["int"]
    assert [answer for answer in answers if isinstance(answer, int)] == [2]


def test_workers_that_acquire_expired_leases_at_once_have_different_fencing_tokens(
    known: Store, database_url: str
) -> None:
    epochs = at_once(database_url, 8, lambda own: own.leases.acquire("small", "host", -HOUR))

    assert sorted(epochs, key=repr) == list(range(1, 9))


def too_short(known: Store) -> None:
    long_ago = small_recipe().model_copy(update={"model": small_recipe().model.model_copy(update={"context": 100})})
    assert train_model(long_ago, known, NOW).reason.startswith("no network can be trained yet: ")


def interrupted(known: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "run_training", stopped)
    with pytest.raises(KeyboardInterrupt):
        train_model(small_recipe(), known, NOW)


@pytest.mark.parametrize("failing", [lambda known, _: too_short(known), interrupted], ids=["too short", "interrupted"])
def test_a_training_that_fails_releases_the_lease(
    failing: Callable[[Store, pytest.MonkeyPatch], None], known: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(known, monkeypatch)

    assert known.leases.fencing_token("small") == 1
    assert known.leases.acquire("small", "host:2", HOUR) == 2


def test_a_training_while_another_one_runs_is_busy_before_it_begins(
    known: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.leases.acquire("small", "host:1", HOUR)
    monkeypatch.setattr(train, "run_training", pytest.fail)

    with pytest.raises(Busy, match="host:1 trains small"):
        train_model(small_recipe(), known, NOW)


def test_keeping_the_champion_needs_no_lease(known: Store) -> None:
    add_untrained(known)
    known.leases.acquire("small", "host:1", HOUR)

    assert train_model(small_recipe(), known, NOW).training == "keep"


def test_writing_a_batch_needs_no_lease(known: Store) -> None:
    known.leases.acquire("small", "host:1", HOUR)

    with known.batches.write(BatchHeader(recipe="small", source="small.csv", content_hash="more"), NOW) as intake:
        intake.finish({"num_read": 0, "num_new": 0, "num_revised": 0, "num_same": 0}, [])

    assert known.batches.fetch_context("small", NOW).content_hash == "more"
