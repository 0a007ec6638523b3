"""A history that was loaded today with a publication lag is carried out month by month, in both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.steps import run_backfill, run_cycle
from pipeline.config.recipe import Recipe
from pipeline.evaluation.rolling_origin import BacktestPlan
from pipeline.jobs.backtest import load_backtest_inputs
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import load_panel
from pipeline.jobs.reproduce import reproduce_run
from pipeline.storage.store import Store
from tests.storage.raw_sql import rows
from tests.support.examples import small_recipe
from tests.support.simulation import at_work, training_once

NOW = datetime(2026, 11, 28, tzinfo=UTC)
LATER = datetime(2026, 11, 29, tzinfo=UTC)
FIRST, UNTIL = datetime(1974, 1, 1, tzinfo=UTC), datetime(1974, 5, 1, tzinfo=UTC)


def write_milk(folder: Path, *, changed_from: str = "9999") -> None:
    """Monthly milk from 1962 to 1975; from one month on other values."""
    months = np.arange("1962-01", "1976-01", dtype="datetime64[M]").astype(str)
    values = [600 + n + 50 * np.sin(n * np.pi / 6) + 400 * (month >= changed_from) for n, month in enumerate(months)]
    lines = [f"{month}-01,{value:.1f}" for month, value in zip(months, values, strict=True)]
    (folder / "small.csv").write_text("\n".join(["month,sold", *lines]) + "\n")


def load(store: Store, folder: Path, **milk: Any) -> Recipe:
    write_milk(folder, **milk)
    recipe = small_recipe(folder, 'publication_lag = "P15D"')
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    return recipe


def backfill(recipe: Recipe, store: Store) -> list[dict[str, Any]]:
    return list(run_backfill(at_work(recipe, store, LATER), FIRST, UNTIL))


def test_each_origin_sees_what_was_known_then(store: Store, tmp_path: Path) -> None:
    recipe = load(store, tmp_path)
    for month in range(1, 13):
        panel = load_panel(recipe, store, datetime(1974, month, 20, tzinfo=UTC))
        assert panel.origin.astype("datetime64[M]") == np.datetime64(f"1974-{month:02d}") - 1


def test_a_backtest_sees_what_was_known_at_each_origin(store: Store, tmp_path: Path) -> None:
    recipe = load(store, tmp_path)

    inputs = load_backtest_inputs(recipe, store, lambda: LATER, BacktestPlan(num_origins=4))

    for origin in inputs.origins:
        assert not origin.snapshot.is_cut
        assert origin.panel.as_of is not None
        ended = origin.panel.origin.astype("datetime64[M]") + 1
        assert np.datetime64(origin.panel.as_of.replace(tzinfo=None), "D") == ended.astype("datetime64[D]") + 15


@pytest.mark.tensorflow
def test_months_are_carried_out_one_by_one_and_replays_stay_identical(
    store: Store, tmp_path: Path, trainings: Path
) -> None:
    recipe = load(store, tmp_path)
    with training_once(trainings):
        run_cycle(at_work(recipe, store, LATER))
        latest = rows(store.database, "select distinct run_id from latest_forecasts")
        facts = backfill(recipe, store)

    assert [fact["origin"][:7] for fact in facts] == ["1973-12", "1974-01", "1974-02", "1974-03"]
    assert [fact["as_of"][:10] for fact in facts] == ["1974-01-16", "1974-02-16", "1974-03-16", "1974-04-16"]
    assert rows(store.database, "select distinct run_id from latest_forecasts") == latest
    write_milk(tmp_path, changed_from="1973-06")
    ingest_source(
        recipe.model_copy(update={"source": recipe.source.model_copy(update={"max_revised": 1.0})}), store, LATER
    )
    for fact in facts:
        reproduced = reproduce_run(fact["run_id"], store)
        assert reproduced is not None
        assert reproduced.is_identical, reproduced.faults


@pytest.mark.tensorflow
def test_changing_the_future_changes_no_backfill(store: Store, tmp_path: Path, trainings: Path) -> None:
    with training_once(trainings):
        recipe = load(store, tmp_path, changed_from="1974-05")
        facts = backfill(recipe, store)

    write_milk(tmp_path)
    for fact in facts:
        as_of = datetime.fromisoformat(fact["as_of"])
        panel = load_panel(recipe, store, as_of)
        known = np.loadtxt(tmp_path / "small.csv", delimiter=",", skiprows=1, usecols=1)[: len(panel.grid)]
        np.testing.assert_array_equal(panel.series_values(0), known)
