"""Covariates on their way from a file through the store into the panel that networks read."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipe import MOST_OTHER_SERIES, Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation.rolling_origin import BacktestPlan
from pipeline.jobs.backtest import inputs_at_origins
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.inputs import load_panel
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.storage.store import Store
from tests.support.examples import NOW, months
from tests.support.recipes import build_recipe

ALL = 'past = ["price"]\nfuture = ["offer"]\nstatic = ["region"]'
LENGTH = 30
HOUR = timedelta(hours=1)


def recipe_in(folder: Path, covariates: str = ALL, shops: tuple[str, ...] = ("a", "b")) -> Recipe:
    lines = ["month,sold,shop,price,offer,region"]
    for s, shop in enumerate(shops):
        for n, month in enumerate(months(LENGTH + 3)):
            told = f"{n + 100 * s + 1},{shop},{10 * n + s}" if n < LENGTH else f",{shop},"
            lines.append(f"{month},{told},{n + s / 2},region {shop}")
    (folder / "small.csv").write_text("\n".join(lines) + "\n")
    return build_recipe("small", folder=folder, season_length=4, source={"series": "shop"}, covariates=covariates)


@pytest.mark.parametrize("length", [None, 8])
def test_what_a_source_tells_beside_the_values_is_on_the_panel(
    store: Store, tmp_path: Path, length: int | None
) -> None:
    recipe = recipe_in(tmp_path)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)

    panel = load_panel(recipe, store, None, length=length)

    kept = length or LENGTH
    told = np.arange(LENGTH - kept, LENGTH)
    ahead = np.arange(LENGTH - kept, LENGTH + 3)
    assert panel.values.tolist() == [*(told + 1), *(told + 101)]
    assert panel.past["price"].tolist() == [*(10 * told), *(10 * told + 1)]
    assert panel.future["offer"].tolist() == [*ahead, *(ahead + 0.5)]
    assert panel.static == {"region": ("region a", "region b")}
    assert panel.ahead == 3


def test_a_delivery_that_changes_no_number_but_a_text_is_a_state_of_knowledge_of_its_own(
    store: Store, tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    told = (tmp_path / "small.csv").read_text()
    (tmp_path / "small.csv").write_text(told.replace("region a", "the north"))
    ingest_source(recipe, store, NOW + HOUR)

    now, before = (load_panel(recipe, store, as_of) for as_of in (None, NOW))

    assert now.static == {"region": ("the north", "region b")}
    assert before.static == {"region": ("region a", "region b")}
    assert (before.as_of, now.as_of) == (NOW, NOW + HOUR)
    assert load_panel(recipe, store, now.as_of).data_hash == now.data_hash
    assert store.batches.known_instants("small") == [NOW, NOW + HOUR]


def test_a_recipe_without_covariates_has_none_on_its_panel(store: Store, tmp_path: Path) -> None:
    store.recipes.register(recipe_in(tmp_path))
    ingest_source(recipe_in(tmp_path), store, NOW)

    panel = load_panel(recipe_in(tmp_path, ""), store, None)

    assert (dict(panel.past), dict(panel.future), dict(panel.static), panel.ahead) == ({}, {}, {}, 0)


def test_series_that_read_each_other_are_covariates_of_one_another(store: Store, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, 'other_series = true\nfuture = ["offer"]')
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)

    panel = load_panel(recipe, store, None, length=2)

    assert panel.past["series a"].tolist() == [29, 30, 29, 30]
    assert panel.past["series b"].tolist() == [129, 130, 129, 130]
    assert panel.static["series"] == ("a", "b")


def test_too_many_series_do_not_read_each_other(store: Store, tmp_path: Path) -> None:
    shops = tuple(f"s{n:03d}" for n in range(MOST_OTHER_SERIES + 1))
    recipe = recipe_in(tmp_path, 'other_series = true\nfuture = ["offer"]', shops)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)

    with pytest.raises(
        ModelRefused, match=r"covariates.other_series is for at most 64 series, small has 65: leave it out"
    ):
        load_panel(recipe, store, None)


def test_a_covariate_that_is_a_forecast_itself_counts_as_it_was_known_at_the_time(store: Store, tmp_path: Path) -> None:
    """A weather forecast that came true otherwise, and one that reached less far at first."""
    recipe = recipe_in(tmp_path, 'future = ["offer"]', shops=("a",))
    file = tmp_path / "small.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]) + "\n")  # two of three periods ahead
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    revised = [line.replace(",30.0,", ",99.0,") for line in lines]
    file.write_text("\n".join(revised) + "\n")
    ingest_source(recipe, store, NOW + HOUR)

    now, before = (load_panel(recipe, store, as_of, length=8) for as_of in (None, NOW))

    np.testing.assert_array_equal(before.future["offer"][-3:], [30, 31, np.nan])
    np.testing.assert_array_equal(now.future["offer"][-3:], [99, 31, 32])
    missing = find_missing_covariates(before, recipe)
    assert missing is not None
    assert missing.reasons == ("offer is not known for 1 of 3 periods ahead",)
    assert find_missing_covariates(now, recipe) is None


def test_a_backtest_knows_of_an_origin_s_future_what_was_delivered_by_then(store: Store, tmp_path: Path) -> None:
    """The same origin once with the data of its time, and once with those of now cut at it."""
    recipe = recipe_in(tmp_path, 'future = ["offer"]', shops=("a",))
    file = tmp_path / "small.csv"
    lines = file.read_text().splitlines()
    store.recipes.register(recipe)
    newest = lines[LENGTH].replace(f",{LENGTH},", ",,")  # the last month is not observed yet, and its offer is
    file.write_text("\n".join([*lines[:LENGTH], newest, lines[LENGTH + 1]]) + "\n")
    ingest_source(recipe, store, NOW)
    file.write_text("\n".join(line.replace(",29.0,", ",99.0,") for line in lines) + "\n")  # it came otherwise
    ingest_source(recipe, store, NOW + HOUR)
    store_panel = store.observations.panel

    then, now = (
        inputs_at_origins(
            np.array([months(LENGTH)[-2]], "datetime64[us]"),
            load_panel(recipe, store, None),
            recipe,
            BacktestPlan(),
            vintages=vintages,
            read_panel=lambda as_of: store_panel(recipe, as_of),
        )[0].panel
        for vintages in (store.observations.vintages(recipe.name), [])
    )

    np.testing.assert_array_equal(then.future["offer"][-4:], [28, 29, 30, np.nan])
    np.testing.assert_array_equal(now.future["offer"][-4:], [28, 99, 30, 31])
