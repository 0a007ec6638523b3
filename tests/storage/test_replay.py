"""A published run is made again from its lineage alone, whatever became of the data since, or it is told what differs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from flows.cli.app import app
from flows.steps import run_cycle
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld
from pipeline.forecasting import forecaster
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster
from pipeline.jobs import inputs
from pipeline.jobs.ingest import approve_batch, ingest_source
from pipeline.jobs.reproduce import Difference, ReproducedRun, first_difference, reproduce_run
from pipeline.storage.engine import Database
from pipeline.storage.runs import Publication
from pipeline.storage.store import Store
from tests.storage.raw_sql import change, rows, value
from tests.storage.small_store import NEVER, forecast
from tests.support.simulation import DAY, START, at_work, daily_recipe, delivered, live, training_once

pytestmark = pytest.mark.tensorflow

SEED = 20261127
#: a number that no shop ever sold
PLANTED = 9e14


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return daily_recipe(tmp_path, retrain_after=9)


@pytest.fixture(autouse=True)
def _trained_once(trainings: Path) -> Iterator[None]:
    with training_once(trainings):
        yield


@pytest.fixture
def lived(recipe: Recipe, store: Store) -> Store:
    """A week: a new shop, a revision that supersedes a run, and a fallback."""
    live(recipe, store, range(8))
    return store


def unguarded(database: Database, table: str) -> None:
    """Take the guards of a table away, as whoever has the database can."""
    if database.url.get_backend_name() == "postgresql":
        change(database, f"alter table {table} disable trigger user")
        return
    for (name,) in rows(database, "select name from sqlite_master where type = 'trigger' and tbl_name = :t", t=table):
        change(database, f"drop trigger {name}")


def replayed(store: Store, run_id: str) -> ReproducedRun:
    found = reproduce_run(run_id, store)
    assert found is not None
    return found


def runs(store: Store) -> list[str]:
    return [run_id for (run_id,) in rows(store.database, "select run_id from runs order by run_number")]


def plant(recipe: Recipe, store: Store, day: int) -> None:
    """A delivery that revises every value, and tells new ones, to what no shop ever sold."""
    head, *lines = delivered(day).splitlines()
    told = [f"{line.rsplit(',', 1)[0]},{PLANTED - n}" for n, line in enumerate(lines)]
    (recipe.folder / "daily.csv").write_text("\n".join([head, *told]) + "\n", "utf-8")
    try:
        ingest_source(recipe, store, START + day * DAY)
    except BatchHeld:
        approve_batch(recipe, store, START + day * DAY)


@dataclass(frozen=True)
class Read:
    """What a network was given, and the values behind it."""

    arrays: list[np.ndarray[Any, Any]]

    @property
    def largest(self) -> float:
        return max(float(np.nanmax(np.abs(array))) for array in self.arrays)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and [a.tobytes() for a in self.arrays] == [b.tobytes() for b in other.arrays]


def read_by_the_network(store: Store, run_id: str) -> Read:
    """Every array that a replay passes to the network, and every context before it was scaled."""
    arrays: list[np.ndarray[Any, Any]] = []
    prepare_inputs, run_network = forecaster.prepare_inputs, Forecaster.run_network

    def reading(*arguments: Any) -> Any:
        read = prepare_inputs(*arguments)
        arrays.append(np.nan_to_num(read.context))
        return read

    def through(self: Forecaster, inputs: Any) -> Any:
        arrays.extend(inputs[name] for name in sorted(inputs))
        return run_network(self, inputs)

    with patch.object(forecaster, "prepare_inputs", reading), patch.object(Forecaster, "run_network", through):
        reproduce_run(run_id, store)
    return Read(arrays)


def test_random_runs_of_a_simulation_are_reproduced_bit_for_bit(recipe: Recipe, store: Store) -> None:
    """Three recipes under one name, three models, revisions, superseded runs, backfills, a shop that falls back."""
    live(recipe, store, range(16))
    bounded = recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"maximum": 120.0})})
    live(bounded, store, range(16, 20))
    naive = recipe.model_copy(update={"gate": recipe.gate.model_copy(update={"baseline": "naive"})})
    live(naive, store, range(20, 24))
    for day in (2, 6, 9, 12, 18):
        run_cycle(at_work(recipe, store, START + 30 * DAY), as_of=START + day * DAY)
    plant(recipe, store, 24)
    of_all = "select count(distinct {}) from runs"
    seen = {what: value(store.database, of_all.format(what)) for what in ("model_version", "recipe_fingerprint")}
    assert (seen["model_version"], seen["recipe_fingerprint"]) == (3, 3)
    assert value(store.database, "select count(*) from runs where status = 'superseded'") >= 3
    assert value(store.database, "select count(*) from runs where num_fallback > 0") >= 3

    chosen = random.Random(SEED).sample(runs(store), 20)

    assert [(run_id, replayed(store, run_id).faults) for run_id in chosen] == [(run_id, ()) for run_id in chosen]
    assert any("backfill" in run_id for run_id in chosen)


def test_values_recorded_later_reach_no_tensor(recipe: Recipe, lived: Store) -> None:
    before = {run_id: read_by_the_network(lived, run_id) for run_id in runs(lived)}

    plant(recipe, lived, 8)

    after = {run_id: read_by_the_network(lived, run_id) for run_id in before}
    assert after == before
    assert max(read.largest for read in after.values()) < 1_000
    now = run_cycle(at_work(recipe, lived, START + 8 * DAY), training="keep")
    assert read_by_the_network(lived, now["run_id"]).largest > PLANTED / 2


def test_a_changed_number_is_reported_with_both_values(lived: Store) -> None:
    unguarded(lived.database, "forecasts")
    run_id = runs(lived)[2]
    where = "run_number = 3 and step = 2 and series_id = (select series_id from series_variables where series = 'b')"
    was = value(lived.database, f"select upper_95 from forecasts where {where}")
    change(lived.database, f"update forecasts set upper_95 = upper_95 + 1 where {where}")

    found = replayed(lived, run_id)

    assert not found.is_identical
    assert found.first == Difference(series="b", step=2, column="upper_95", published=was + 1, rebuilt=was)
    assert [fault.split(":")[0] for fault in found.faults] == [
        "the rows are not those that were published",
        'series "b", step 2, upper_95',
    ]
    assert all(replayed(lived, other).is_identical for other in runs(lived) if other != run_id)


def test_deleted_rows_are_reported(lived: Store) -> None:
    unguarded(lived.database, "forecasts")
    change(lived.database, "delete from scores")
    change(lived.database, "delete from forecasts where run_number = 3 and step = 2")

    assert replayed(lived, runs(lived)[2]).faults == ("the 6 rows that were published are not there",)


@pytest.mark.parametrize("column", ["method", "reason", "scale"])
def test_the_method_reason_and_scale_of_a_series_are_compared(lived: Store, column: str) -> None:
    unguarded(lived.database, "run_series")
    other = {"method": "'lstm'", "reason": "'something else'", "scale": "scale + 1"}[column]
    where = "method <> 'lstm' and run_number = (select max(run_number) from run_series)"
    change(lived.database, f"update run_series set {column} = {other} where {where}")

    found = replayed(lived, runs(lived)[-1])

    assert found.first is not None
    assert (found.first.series, found.first.step, found.first.column) == ("c", None, column)


def test_a_changed_baseline_is_reported_although_it_is_not_hashed(lived: Store) -> None:
    unguarded(lived.database, "forecasts")
    change(lived.database, "update forecasts set baseline = baseline + 1 where run_number = 1 and step = 3")

    (fault,) = replayed(lived, runs(lived)[0]).faults

    assert fault.startswith('series "a", step 3, baseline: published ')


def test_a_changed_model_file_is_reported(lived: Store) -> None:
    nothing = "x'00'" if lived.database.url.get_backend_name() == "sqlite" else "'\\x00'"
    change(lived.database, f"update model_files set content = {nothing} where name = 'network.onnx'")

    (fault,) = replayed(lived, runs(lived)[0]).faults

    assert fault.endswith(": network.onnx is missing or was changed; train again")


def test_a_missing_recipe_version_is_reported(recipe: Recipe, lived: Store) -> None:
    unguarded(lived.database, "recipe_versions")
    change(lived.database, "delete from recipe_versions")

    assert replayed(lived, runs(lived)[0]).faults == (
        f"recipe daily with fingerprint {recipe.fingerprint[:12]} was not kept",
    )


@pytest.mark.parametrize(
    ("text", "became"),
    [
        ("replace(definition, '\"horizon\": 3', '\"horizon\": 2')", "was changed since"),
    ],
)
def test_a_changed_recipe_version_is_reported(recipe: Recipe, lived: Store, text: str, became: str) -> None:
    unguarded(lived.database, "recipe_versions")
    change(lived.database, f"update recipe_versions set definition = {text}")

    assert replayed(lived, runs(lived)[0]).faults == (
        f"recipe daily with fingerprint {recipe.fingerprint[:12]} {became}",
    )


def test_a_changed_revision_is_reported_with_the_forecast_that_differs(lived: Store) -> None:
    unguarded(lived.database, "revisions")
    change(lived.database, "update revisions set value = value + 50")

    found = replayed(lived, runs(lived)[-1])

    data, number = found.faults
    assert data.startswith("the observations as of 2026-03-08T06:00:00+00:00 are not those of the run: hash ")
    assert found.first is not None
    assert number == str(found.first)
    assert replayed(lived, runs(lived)[0]).is_identical


def test_deleted_observations_are_reported(lived: Store) -> None:
    change(lived.database, "update batches set status = 'refused'")

    (fault,) = replayed(lived, runs(lived)[0]).faults

    assert fault.startswith("there are no observations of daily")


def test_another_code_version_is_a_note_and_no_fault(
    recipe: Recipe, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr(inputs, "code_version", lambda: "0.0.1+earlier")
        (run,) = live(recipe, store, range(1))

    found = replayed(store, run["run_id"])

    assert found.is_identical
    assert found.notes == (f"published by code 0.0.1+earlier, rebuilt by {inputs.code_version()}",)


def test_a_series_with_a_fallback_is_reproduced_as_it_was_published(recipe: Recipe, lived: Store) -> None:
    model = lived.models.champion("daily")
    assert model is not None
    forecaster, panel = inputs.load_forecaster_and_panel(model, recipe, lived, None)
    made = forecast_panel(forecaster, panel, recipe, worse={"b": "worse than seasonal-naive by 12 %"})
    assert panel.as_of is not None
    publication = Publication(
        recipe=recipe,
        forecast=made,
        model=model,
        lineage=inputs.new_lineage(recipe, panel),
        kind="backfill",
        expected_next_by=NEVER,
        fencing_token=lived.leases.fencing_token("daily"),
    )
    run, _ = lived.runs.publish(publication, START)

    assert replayed(lived, run.run_id).is_identical
    assert rows(lived.database, "select method from run_series where reason like 'worse than%'") == [
        ("fallback:seasonal-naive",)
    ]


def test_a_run_that_was_not_published_is_not_reproduced(lived: Store) -> None:
    assert reproduce_run("nothing", lived) is None


def test_the_first_difference_is_by_series_and_step() -> None:
    published = forecast([1, 2, 3], series=("a", "b"))
    numbers = forecast([1, 2, 4], series=("a", "b"))
    fewer = forecast([1, 2, 3], series=("b",))
    later = forecast([1, 2, 3], series=("a", "b"), origin="2023-05-01")

    assert first_difference(published, published) is None
    assert str(first_difference(published, numbers)) == 'series "a", step 3, mean: published 3.0, rebuilt 4.0'
    assert str(first_difference(published, fewer)) == 'series "a" is published only'
    assert str(first_difference(fewer, published)) == 'series "a" is rebuilt only'
    assert str(first_difference(published, later)).startswith('series "a", step 1, period: published 2023-05-01')
    assert str(first_difference(published, forecast([1, 2], series=("a", "b")))).endswith("rebuilt None")


@pytest.fixture
def types(lived: Store, database_url: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What somebody types who has that database."""
    monkeypatch.setenv("NEXTPERIOD_DATABASE_URL", database_url)
    monkeypatch.setenv("NEXTPERIOD_RECIPES", str(recipe.folder))

    def typed(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return typed


def test_the_command_prints_identical_and_exits_with_0(types: Any) -> None:
    told = types("replay", "daily")

    assert (told.exit_code, told.stdout) == (
        0,
        "daily-2026-03-05-1: identical: 9 rows reproduced from the data as of 2026-03-08T06:00:00+00:00\n",
    )
    facts = json.loads(types("replay", "daily-2026-03-01-1", "--json").stdout)
    assert facts == {
        "run_id": "daily-2026-03-01-1",
        "recipe": "daily",
        "kind": "live",
        "origin": "2026-03-01T00:00:00",
        "as_of": "2026-03-02T06:00:00+00:00",
        "num_rows": 6,
        "identical": True,
        "faults": [],
        "first": None,
        "notes": [],
    }


def test_the_command_prints_the_first_row_that_differs_and_exits_with_1(types: Any, lived: Store) -> None:
    unguarded(lived.database, "forecasts")
    change(lived.database, "update forecasts set mean = mean + 1 where run_number = 2 and step = 1")

    told = types("replay", "daily-2026-03-01-1")
    facts = json.loads(types("replay", "daily-2026-03-01-1", "--json").stdout)

    assert told.exit_code == 1
    assert told.stdout.splitlines()[0] == "daily-2026-03-01-1: not identical"
    assert told.stdout.splitlines()[2].startswith('  series "a", step 1, mean: published ')
    first = facts["first"]
    assert (facts["identical"], first["series"], first["step"], first["column"]) == (False, "a", 1, "mean")
    assert first["published"] == pytest.approx(first["rebuilt"] + 1)


def test_an_unknown_run_is_an_error_that_lists_the_expected_ones(types: Any) -> None:
    told = types("replay", "daily-1999-01-01-1")

    assert told.exit_code == 1
    assert 'run "daily-1999-01-01-1" is not known: expected a recipe\'s name' in str(told.exception)
