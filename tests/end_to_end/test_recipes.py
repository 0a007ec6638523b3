"""All recipes publish on both databases: with few epochs here, as they stand where evidence is gathered."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.loader import load_recipe, parse_recipe, recipe_names
from pipeline.config.recipe import Recipe
from pipeline.jobs.attempt import record_attempt
from pipeline.jobs.forecast import PublishResult, publish_forecast
from pipeline.jobs.ingest import ingest_source
from pipeline.jobs.train import train_model
from pipeline.storage.integrity import integrity_errors
from pipeline.storage.store import Store

RECIPES = Path(__file__).parents[2] / "deployments/recipes"
AAPL = Path(__file__).parents[3] / "shared/data/tutorials/AAPL.csv"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Apple's prices where they are, elsewhere generated ones of the same layout."""
    return AAPL if AAPL.exists() else generated_prices(tmp_path_factory.mktemp("prices") / "AAPL.csv")


def generated_prices(path: Path) -> Path:
    """A random walk of 600 sessions up to 2019-12-30, as Yahoo would list it."""
    from pipeline.timeseries.frequency import Frequency

    sessions = Frequency("B", "XNYS").between(np.datetime64("2010-01-04", "us"), np.datetime64("2019-12-30", "us"))[
        -600:
    ]
    closes = 50 * np.exp(np.cumsum(np.random.default_rng(1).normal(0.0005, 0.015, len(sessions))))
    lines = [
        f"{str(day)[:10]},{c:.6f},{c:.6f},{c:.6f},{c:.6f},{c:.6f},1000" for day, c in zip(sessions, closes, strict=True)
    ]
    path.write_text("Date,Open,High,Low,Close,Adj Close,Volume\n" + "\n".join(lines) + "\n")
    return path


def shortened(name: str) -> Recipe:
    """The recipe with a few epochs and one member, and all else as it is."""
    text = (RECIPES / f"{name}.toml").read_text()
    text = re.sub(r"^epochs = \d+$", "epochs = 1", text, flags=re.MULTILINE)
    text = re.sub(r"^members = \d+$", "members = 1", text, flags=re.MULTILINE)
    if "[training]\nepochs" not in text:
        text = text.replace("[training]\n", "[training]\nepochs = 1\n")
    return parse_recipe(text, where=name, folder=RECIPES)


def publish(recipe: Recipe, store: Store) -> PublishResult:
    with record_attempt(recipe, store, "run", lambda: NOW):
        ingest_source(recipe, store, NOW)
        train_model(recipe, store, NOW)
        return publish_forecast(recipe, store, NOW)


#: by recipe: the first and the last period that come next
NEXT = {
    "milk": ("1976-01-01", "1976-12-01"),
    "airline": ("1961-01-01", "1961-12-01"),
    "btc": ("2018-05-27", "2018-06-02"),
    "integers": ("2000-04-10", "2000-04-14"),
    "aapl": ("2019-12-31", "2020-01-07"),
}


def test_every_recipe_has_its_next_periods_here() -> None:
    assert sorted(NEXT) == recipe_names(RECIPES)


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("database_url", "name"),
    [("postgresql", "milk"), *(("sqlite", name) for name in sorted(NEXT))],
    indirect=["database_url"],
)
def test_a_recipe_publishes_its_next_periods(
    name: str, store: Store, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTPERIOD_AAPL_CSV", str(prices))
    recipe = shortened(name)

    run = publish(recipe, store)

    rows = store.runs.latest_forecasts(name)
    assert run.status == "published"
    assert (str(rows[0]["period"])[:10], str(rows[-1]["period"])[:10]) == NEXT[name]
    assert [row["step"] for row in rows] == list(range(1, recipe.horizon + 1))
    assert all(
        row["lower_95"] <= row["lower_80"] <= row["median"] <= row["upper_80"] <= row["upper_95"] for row in rows
    )
    assert integrity_errors(store) == []
    champion = store.models.champion(name)
    assert champion is not None
    assert [line.protocol.split(" (")[0] for line in champion.record.tutorial] == ["as written", "without the leak"]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", sorted(NEXT))
def test_a_recipe_as_it_stands_publishes(
    name: str, store: Store, prices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEXTPERIOD_AAPL_CSV", str(prices))
    recipe = load_recipe(name, RECIPES)

    run = publish(recipe, store)

    assert (run.status, run.num_rows) == ("published", recipe.horizon)
    champion = store.models.champion(name)
    assert champion is not None
    print(
        f"\n{name} on {store.database.url.get_backend_name()}: {champion.record.backtest}\n{champion.record.tutorial}"
    )


def test_a_share_without_a_path_says_how_to_get_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXTPERIOD_AAPL_CSV", raising=False)
    recipe = load_recipe("aapl", RECIPES)

    with pytest.raises(
        Exception, match="NEXTPERIOD_AAPL_CSV names, which is not set; to get one: `pip install yfinance`"
    ):
        ingest_source(recipe, store, NOW)


def test_generated_prices_have_the_layout_of_the_real_ones(tmp_path: Path) -> None:
    lines = generated_prices(tmp_path / "prices.csv").read_text().splitlines()

    assert lines[0] == "Date,Open,High,Low,Close,Adj Close,Volume"
    assert lines[-1].startswith("2019-12-30,")
    assert len(lines) == 601
    assert os.linesep.join(lines).count(",") == 6 * 601
