"""A vintage of real statistics, then another four years later that rewrites history: what was known, stays known."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, NoObservations
from pipeline.jobs.forecast import PublishResult, publish_forecast
from pipeline.jobs.ingest import approve_batch, ingest_source
from pipeline.jobs.inputs import LATEST
from pipeline.jobs.train import train_model
from pipeline.storage.engine import open_database
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.store import Store
from tests.end_to_end.shell import Said, Shell, shell_in
from tests.end_to_end.vintages import SERIES, VINTAGES, generated_vintage, values_of, vintage
from tests.storage.small_store import observations_as_of

pytestmark = pytest.mark.tensorflow

RECIPE = """
name = "fred"
description = "American months, as they were told"
frequency = "MS"
horizon = 12
max_gap = 5                   # UMCSENTx was asked only now and then before 1978, CP3Mx lacks April 2020

[source]
kind = "parquet"
path = "fred.parquet"
period = "month"
value = "value"
series = "series"
missing = "gap"               # series begin later than others, end a month earlier, and have holes: cells are empty

[model]
architecture = "vanilla"
context = 24
units = 4

[training]
epochs = 2
batch_size = 256
"""

#: what the guards say of a history that got another base
REBASED = (
    r'fred\.parquet: the values of series "(\w+)" are the stored ones times 0\.\d+.*; '
    r"nothing was ingested; if this is right, run `nextperiod ingest fred --approve`"
)

Values = Mapping[tuple[str, np.datetime64], float]
FORECASTS = (
    "select series, period, step, mean, lower_95, lower_80, median, upper_80, upper_95, method, reason "
    "from forecast_history where run_id = '{}' order by series, step"
)


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What somebody typed and read, from the first vintage to the same commands again."""

    folder: Path
    shell: Shell
    store: Store
    first_told: Values
    second_told: Values
    first: dict[str, Any]
    held: Said
    counts_before_held: dict[str, int]
    counts_after_held: dict[str, int]
    latest_while_held: list[tuple[Any, ...]]
    approved: Said
    second: dict[str, Any]
    as_of_between: dict[str, Any]
    counts: dict[str, int]

    @property
    def recipe(self) -> Recipe:
        return load_recipe("fred", self.folder)

    @property
    def between(self) -> datetime:
        return between(self.first, self.second)

    def asks(self, query: str) -> list[tuple[Any, ...]]:
        return asks(self.folder, query)


def asks(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What a consumer's SELECT gives."""
    with closing(sqlite3.connect(folder / "nextperiod.db")) as connection:
        return connection.execute(query).fetchall()


def counts_of(folder: Path) -> dict[str, int]:
    """Rows of every table but of attempts, which tell of tries."""
    tables = asks(folder, "select name from sqlite_master where type = 'table' and name <> 'command_attempts'")
    return {name: asks(folder, f"select count(*) from {name}")[0][0] for (name,) in tables}


def between(first: dict[str, Any], second: dict[str, Any]) -> datetime:
    """An instant at which only the first vintage was known."""
    early, late = (datetime.fromisoformat(run["as_of"]) for run in (first, second))
    return early + (late - early) / 2


def write(folder: Path, told: pd.DataFrame) -> Values:
    """Put a vintage in the place of the one before."""
    told.to_parquet(folder / "fred.parquet", index=False)
    return values_of(told)


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replay]:
    folder = tmp_path_factory.mktemp("revisions")
    (folder / "fred.toml").write_text(RECIPE)
    with shell_in(folder) as shell:
        first_told = write(folder, vintage(VINTAGES[0]))
        first = shell.types("run", "fred", "--json").facts
        before_held = counts_of(folder)
        second_told = write(folder, vintage(VINTAGES[1]))
        held = shell.types("run", "fred", "--json")
        after_held, latest_while_held = counts_of(folder), asks(folder, "select distinct run_id from latest_forecasts")
        approved = shell.types("ingest", "fred", "--approve")
        second = shell.types("run", "fred", "--json").facts
        as_of_between = shell.types("run", "fred", "--as-of", between(first, second).isoformat(), "--json").facts
        shell.types("run", "fred")  # the backfill is scored against what came since
        database = open_database(f"sqlite:///{folder}/nextperiod.db")
        yield Replay(
            folder=folder,
            shell=shell,
            store=Store(database),
            first_told=first_told,
            second_told=second_told,
            first=first,
            held=held,
            counts_before_held=before_held,
            counts_after_held=after_held,
            latest_while_held=latest_while_held,
            approved=approved,
            second=second,
            as_of_between=as_of_between,
            counts=counts_of(folder),
        )
        database.close()


def known_of(store: Store, recipe: Recipe, as_of: datetime) -> Values:
    """What the store says was known at an instant."""
    known = observations_as_of(store, recipe, as_of)
    keys = zip((known.names[s] for s in known.series), known.period, strict=True)
    return dict(zip(keys, known.value.tolist(), strict=True))


def bits(values: Values) -> dict[tuple[str, np.datetime64], str]:
    """Values to the last bit."""
    return {key: value.hex() for key, value in values.items()}


def num_revised(replay: Replay) -> int:
    """How many values of the first vintage are others in the second."""
    return sum(value != replay.second_told.get(key, value) for key, value in replay.first_told.items())


def test_the_first_vintage_is_published_after_its_newest_month(replay: Replay) -> None:
    assert (replay.first["status"], replay.first["origin"]) == ("published", "2019-08-01T00:00:00")
    assert (replay.first["num_series"], replay.first["num_rows"]) == (len(SERIES), 12 * len(SERIES))


def test_series_that_end_a_month_before_are_forecast_all_the_same_and_say_how(replay: Replay) -> None:
    methods = {(series, method) for series, *_, method, _ in replay.asks(FORECASTS.format(replay.first["run_id"]))}

    assert {("ACOGNO", "fallback:seasonal-naive"), ("CMRMTSPLx", "fallback:seasonal-naive")} <= methods
    assert ("INDPRO", "lstm") in methods


def test_a_vintage_with_another_base_is_held_and_a_series_is_named_with_how_it_changed(replay: Replay) -> None:
    assert replay.held.status == 1
    facts = json.loads(replay.held.out)
    assert facts["status"] == "refused"
    assert replay.held.err == f"nextperiod: fred: {facts['reason']}\n"
    named = re.fullmatch(REBASED, facts["reason"])
    assert named is not None, facts["reason"]
    assert named[1] in ("CMRMTSPLx", "DPCERA3M086SBEA", "INDPRO", "IPMAT")


def test_while_it_is_held_nothing_of_it_counts(replay: Replay) -> None:
    headers = {"batches", "held_rows", "rejections", "sqlite_sequence"}
    changed = {table for table, count in replay.counts_after_held.items() if replay.counts_before_held[table] != count}

    assert changed <= headers
    assert replay.latest_while_held == [(replay.first["run_id"],)]


def test_approving_it_takes_it_in_and_says_what_it_changed(replay: Replay) -> None:
    same = len(replay.first_told) - num_revised(replay)
    new = len(replay.second_told) - len(replay.first_told)

    assert replay.approved.status == 0
    assert replay.approved.out.startswith("fred.parquet: ")
    assert replay.approved.out.endswith(f", {new} new, {num_revised(replay)} revised, {same} unchanged, 0 rejected\n")
    assert num_revised(replay) > 1000


def test_the_next_run_publishes_after_the_newest_month_of_the_second_vintage(replay: Replay) -> None:
    assert (replay.second["status"], replay.second["origin"]) == ("published", "2023-11-01T00:00:00")
    why = "51 periods since the last fit from the seed, due after 48; not promoted: "
    assert replay.second["training"] == "retrain"
    assert replay.second["reason"].startswith(why)
    assert replay.asks("select distinct run_id from latest_forecasts") == [(replay.second["run_id"],)]


def test_consumers_see_the_values_of_the_second_vintage(replay: Replay) -> None:
    rows = replay.asks("select series, period, value from current_observations where recipe = 'fred'")

    seen = {(series, np.datetime64(period, "us")): value for series, period, value in rows}
    assert bits(seen) == bits({**replay.first_told, **replay.second_told})


def test_what_was_known_then_comes_back_to_the_last_bit(replay: Replay) -> None:
    for as_of in (datetime.fromisoformat(replay.first["as_of"]), replay.between):
        assert bits(known_of(replay.store, replay.recipe, as_of)) == bits(replay.first_told)


def test_the_runs_are_explained_by_their_vintages(replay: Replay) -> None:
    first = replay.shell.types("explain", replay.first["run_id"], "--json").facts
    second = replay.shell.types("explain", "fred", "--json").facts

    assert (first["num_known"], first["batch"]["num_new"]) == (len(replay.first_told), len(replay.first_told))
    assert first["since"]["num_batches"] == 1
    assert first["since"]["num_revised"] == num_revised(replay)
    assert first["batch"]["held_at"] is None
    assert (first["model"]["model_version"], first["decision"]["reason"]) == (1, "no model yet")
    assert second["run_id"] == replay.second["run_id"]
    assert second["batch"]["content_hash"] != first["batch"]["content_hash"]
    assert second["batch"]["num_revised"] == num_revised(replay)
    assert second["batch"]["held_at"] is not None
    assert second["since"] == {"num_batches": 0, "num_new": 0, "num_revised": 0, "num_series": 0}
    assert (second["model"]["model_version"], second["model"]["is_champion"]) == (1, True)
    assert second["decision"]["training"] == "keep"
    assert first["model"]["mlflow_run_id"] == replay.first["mlflow_run_id"] is not None
    in_words = replay.shell.types("explain", replay.first["run_id"]).out
    assert f"{num_revised(replay)} of the {len(replay.first_told)} values were revised" in in_words
    assert max(map(len, in_words.splitlines())) <= 110


def test_as_of_then_it_publishes_what_it_published_then(replay: Replay) -> None:
    backfill = replay.as_of_between

    assert (backfill["status"], backfill["origin"], backfill["training"]) == (
        ("published", "2019-08-01T00:00:00", "keep")
    )
    assert backfill["model_version"] == 1
    first, again = (replay.asks(FORECASTS.format(run["run_id"])) for run in (replay.first, backfill))
    assert again == first
    assert len(first) == 12 * len(SERIES)
    explained = replay.shell.types("explain", backfill["run_id"], "--json").facts
    assert explained["kind"] == "backfill"
    assert explained["since"]["num_revised"] == num_revised(replay)


def test_a_backfill_is_history_and_never_the_latest(replay: Replay) -> None:
    assert replay.asks("select run_id, kind, count(*) from forecast_history group by run_id, kind order by run_id") == [
        (replay.first["run_id"], "live", 144),
        (replay.as_of_between["run_id"], "backfill", 144),
        (replay.second["run_id"], "live", 144),
    ]
    assert replay.asks("select distinct run_id from latest_forecasts") == [(replay.second["run_id"],)]


def test_the_same_commands_again_change_nothing(replay: Replay) -> None:
    again = replay.shell.types("run", "fred", "--json").facts
    as_of_again = replay.shell.types("run", "fred", "--as-of", replay.between.isoformat(), "--json").facts
    approved_again = replay.shell.types("ingest", "fred", "--approve")

    assert (again["status"], again["run_id"]) == ("unchanged", replay.second["run_id"])
    assert (as_of_again["status"], as_of_again["run_id"]) == ("unchanged", replay.as_of_between["run_id"])
    assert (approved_again.status, approved_again.err) == (
        (1, "nextperiod: no batch of fred is on hold: there is nothing to approve\n")
    )
    assert counts_of(replay.folder) == replay.counts


def test_before_anything_was_known_it_says_since_when_something_is(replay: Replay) -> None:
    before = datetime.fromisoformat(replay.first["as_of"]) - timedelta(microseconds=1)

    said = replay.shell.types("run", "fred", "--as-of", before.isoformat())

    assert said.status == 1
    assert said.err.strip() == (
        f"nextperiod: fred: fred has no observations as of {before.isoformat()}: the first are known since "
        f"{replay.first['as_of']}; give that instant or a later one"
    )


@dataclass(frozen=True, kw_only=True)
class Late:
    """The same vintages in another store, loaded before anything was trained."""

    store: Store
    recipe: Recipe
    first_at: datetime
    as_of_first: PublishResult
    again: PublishResult
    live: PublishResult
    held: str


@pytest.fixture
def late(replay: Replay, store: Store, tmp_path: Path) -> Late:
    (tmp_path / "fred.toml").write_text(RECIPE)
    recipe = load_recipe("fred", tmp_path)
    store.recipes.register(recipe)
    first_at, second_at = datetime(2019, 9, 30, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC)
    write(tmp_path, vintage(VINTAGES[0]))
    ingest_source(recipe, store, first_at)
    write(tmp_path, vintage(VINTAGES[1]))
    with pytest.raises(BatchHeld) as held:
        ingest_source(recipe, store, second_at)
    approve_batch(recipe, store, second_at)
    with pytest.raises(NoObservations, match="the first are known since 2019-09-30T00:00:00"):
        train_model(recipe, store, second_at, as_of=first_at - timedelta(days=1))
    now, then = datetime(2024, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    runs = []
    for as_of in (then, then, None):
        train_model(recipe, store, now, as_of=as_of)
        runs.append(publish_forecast(recipe, store, now, as_of=as_of))
    return Late(
        store=store,
        recipe=recipe,
        first_at=first_at,
        as_of_first=runs[0],
        again=runs[1],
        live=runs[2],
        held=str(held.value),
    )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_store_that_saw_both_vintages_before_any_training_gives_the_same_numbers(late: Late, replay: Replay) -> None:
    def published(store: Store, run_id: str) -> str:
        return store.runs.read_forecast(run_id).content_hash

    assert late.held == json.loads(replay.held.out)["reason"]
    assert bits(known_of(late.store, late.recipe, late.first_at)) == bits(replay.first_told)
    assert bits(known_of(late.store, late.recipe, LATEST)) == bits({**replay.first_told, **replay.second_told})
    trained_late, trained_then = (store.models.by_version("fred", 1) for store in (late.store, replay.store))
    assert trained_late is not None
    assert trained_then is not None
    assert trained_late.model_hash == trained_then.model_hash
    assert trained_late.lineage.as_of == late.first_at
    assert published(late.store, late.as_of_first.run_id) == published(replay.store, replay.first["run_id"])
    assert (late.again.status, late.again.run_id) == ("unchanged", late.as_of_first.run_id)
    newest_late, newest_then = late.store.models.champion("fred"), replay.store.models.by_version("fred", 2)
    assert newest_late is not None
    assert newest_then is not None
    assert newest_late.model_hash == newest_then.model_hash
    assert {row["run_id"] for row in late.store.runs.latest_forecasts("fred")} == {late.live.run_id}
    assert integrity_errors(late.store) == []


def test_generated_vintages_are_revised_as_the_real_ones_are(store: Store, tmp_path: Path) -> None:
    """The tests above mean the same on a machine without FRED-MD."""
    (tmp_path / "fred.toml").write_text(RECIPE)
    recipe = load_recipe("fred", tmp_path)
    store.recipes.register(recipe)
    write(tmp_path, generated_vintage(VINTAGES[0]))
    assert ingest_source(recipe, store, datetime(2019, 9, 30, tzinfo=UTC)).num_rejected == 0
    write(tmp_path, generated_vintage(VINTAGES[1]))

    with pytest.raises(BatchHeld, match=REBASED):
        ingest_source(recipe, store, datetime(2023, 12, 31, tzinfo=UTC))
    approved = approve_batch(recipe, store, datetime(2024, 1, 1, tzinfo=UTC))

    assert approved.num_new > 500
    assert approved.num_revised > 1000
    assert approved.num_same > 1000
