"""A first model that nobody wants fitted, or that nothing could be fitted on, is the pretrained network as it ships."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.jobs import train
from pipeline.jobs.forecast import publish_forecast
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.train import TrainResult, train_model
from pipeline.models import pretrained
from pipeline.storage.store import Store
from pipeline.training import history
from tests.support.examples import NOW, SMALL_RECIPE, small_csv, small_values

#: the small recipe with the default network
RECIPE = SMALL_RECIPE.partition("[model]")[0].format(source="")


class Started(Exception):
    """A training process would have been started."""


@pytest.fixture(autouse=True)
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise Started

    monkeypatch.setattr(train, "run_training", start)


def ingested(store: Store, folder: Path, count: int = 40, more: str = "") -> Recipe:
    (folder / "small.csv").write_text(small_csv(small_values(count)))
    recipe = parse_recipe(RECIPE + more, where="small.toml", folder=folder)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)
    return recipe


def published(recipe: Recipe, store: Store) -> list[float]:
    publish_forecast(recipe, store, NOW)
    rows = store.runs.latest_forecasts("small")
    assert [row["method"] for row in rows] == ["lstm"] * 3
    return [row["mean"] for row in rows]


def test_asked_to_keep_before_there_is_a_model_the_network_is_published_as_it_ships(
    store: Store, tmp_path: Path
) -> None:
    recipe = ingested(store, tmp_path)

    result = train_model(recipe, store, NOW, requested="keep")

    assert (result.training, result.model_version) == ("retrain", 1)
    assert result.reason == ("no model yet; asked to keep: the pretrained network is published as it ships")
    assert result.skill is not None
    np.testing.assert_allclose(published(recipe, store), small_values(43)[-3:], rtol=0.05)
    model = store.models.champion("small")
    assert model is not None
    assert all("moved by 0% from pretrained season-4/" in design for design in model.record.designs)
    assert "network.keras" not in store.models.files(model)


def test_a_policy_to_keep_does_the_same(store: Store, tmp_path: Path) -> None:
    recipe = ingested(store, tmp_path, more='[training]\npolicy = "keep"\n')

    assert train_model(recipe, store, NOW).model_version == 1


def test_a_history_too_short_to_fit_on_starts_no_process(store: Store, tmp_path: Path) -> None:
    recipe = ingested(store, tmp_path, count=6)

    result = train_model(recipe, store, NOW)

    assert result.reason == "no model yet; the history is too short to fit the pretrained network on"
    assert len(published(recipe, store)) == 3


def test_it_stays_until_a_training_is_due_and_is_then_fitted(store: Store, tmp_path: Path) -> None:
    recipe = ingested(store, tmp_path)
    train_model(recipe, store, NOW, requested="keep")

    assert train_model(recipe, store, NOW).training == "keep"
    with pytest.raises(Started):
        train_model(recipe, store, NOW, requested="fine-tune")


@pytest.mark.parametrize(
    "more",
    ["[model]\npretrained = false\n", '[model]\narchitecture = "vanilla"\n', '[training]\nloss = "mae"\n'],
    ids=["not wanted", "another architecture", "another loss"],
)
def test_where_there_is_no_pretrained_network_one_is_fitted(store: Store, tmp_path: Path, more: str) -> None:
    recipe = ingested(store, tmp_path, more=more)

    with pytest.raises(Started):
        train_model(recipe, store, NOW, requested="keep")


def test_where_it_is_damaged_a_network_is_fitted_from_scratch(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = ingested(store, tmp_path)
    damaged = tmp_path / "weights"
    damaged.mkdir()
    (damaged / "season-4.npz").write_bytes(b"")
    history._load_or_warn.cache_clear()
    monkeypatch.setattr(history, "load_pretrained", lambda name: pretrained.load_pretrained(name, damaged))

    with pytest.raises(Started):
        train_model(recipe, store, NOW, requested="keep")

    history._load_or_warn.cache_clear()
    assert "the pretrained network season-4 of this installation is damaged: install nextperiod again" in caplog.text


def test_several_series_are_calibrated_and_compared_with_the_baseline(store: Store, tmp_path: Path) -> None:
    lines = ["shop,month,sold"]
    for shop in range(5):
        values = small_csv([value * (shop + 1) for value in small_values(48)]).splitlines()[1:]
        lines += [f"shop {shop},{line}" for line in values]
    (tmp_path / "small.csv").write_text("\n".join(lines) + "\n")
    recipe = parse_recipe(RECIPE + 'series = "shop"\n', where="small.toml", folder=tmp_path)
    store.recipes.register(recipe)
    ingest_source(recipe, store, NOW)

    result = train_model(recipe, store, NOW, requested="keep")

    model = store.models.champion("small")
    assert model is not None
    assert model.record.backtest is not None
    assert model.record.num_series == 5
    assert model.record.gate is not None
    assert model.record.gate.outcome == "promoted"
    assert result.skill is not None


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    """From ingest to the published rows, in a process of its own."""
    (tmp_path / "small.csv").write_text(small_csv())
    (tmp_path / "small.toml").write_text(RECIPE)
    program = f"""
        import sys
        from pathlib import Path
        from pipeline.config.loader import load_recipe
        from pipeline.jobs.forecast import publish_forecast
        from pipeline.jobs.ingest import ingest_source
        from pipeline.jobs.train import train_model
        from pipeline.storage.engine import open_database
        from pipeline.storage.schema import require_schema
        from pipeline.storage.store import Store
        from tests.support.examples import NOW

        folder = Path({str(tmp_path)!r})
        store = Store(open_database(f"sqlite:///{{folder}}/store.db"))
        require_schema(store.database)
        recipe = load_recipe(str(folder / "small.toml"), folder)
        store.recipes.register(recipe)
        ingest_source(recipe, store, NOW)
        train_model(recipe, store, NOW, requested="keep")
        print(publish_forecast(recipe, store, NOW).num_rows)
        print([name for name in ("keras", "tensorflow") if name in sys.modules])
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )

    assert done.stdout.splitlines()[-2:] == ["3", "[]"]


def test_a_result_names_what_it_is_compared_with(store: Store, tmp_path: Path) -> None:
    result: TrainResult = train_model(ingested(store, tmp_path), store, NOW, requested="keep")

    assert result.baseline in ("naive", "seasonal-naive", "drift")
