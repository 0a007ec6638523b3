"""Series that begin late, or have gaps, among long ones: nothing that fills a place counts as an observation."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.forecasting.fallback import forecast_panel
from pipeline.timeseries.forecast import LOWER_80, UPPER_80, Forecast
from pipeline.timeseries.panel import Panel
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob
from tests.support.global_forecasts import loaded
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

pytestmark = pytest.mark.tensorflow

NAN = float("nan")
CASE = Path(__file__).parents[1] / "cases" / "new-series-forecast-as-its-first-value"
NEW = [12.0, 95, 210, 390, 410]


def train_and_forecast(panel: Panel, recipe: Recipe) -> Forecast:
    trained = run_training(TrainingJob(panel=panel, recipe=recipe, training="retrain", reason="no model yet"))
    return forecast_panel(loaded(trained), panel, recipe)


def read_case() -> tuple[Panel, Recipe]:
    keys = tomllib.loads((CASE / "recipe.toml").read_text("utf-8"))
    rows: dict[str, dict[str, float]] = {}
    with (CASE / "data.csv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            rows.setdefault(row["shop"], {})[row["month"]] = float(row["sold"])
    months = sorted({month for of_shop in rows.values() for month in of_shop})
    series = {shop: [of_shop.get(month, NAN) for month in months] for shop, of_shop in rows.items()}
    return panel_of(series, start=months[0]), build_recipe("shops", horizon=keys["horizon"], source=keys["source"])


def test_a_new_shop_is_not_forecast_as_its_first_month_ever() -> None:
    panel, recipe = read_case()

    forecast = train_and_forecast(panel, recipe)

    new = [s for s, name in enumerate(forecast.series) if name.startswith("new")]
    assert len(new) == 3
    for s in new:
        last = panel.series_values(s)[-1]
        assert forecast.method[s] == "fallback:naive"
        assert "one of each of the 12 periods of a season" in str(forecast.reason[s])
        assert (forecast.mean[s] == last).all()
        if forecast.series[s] != "new flat":  # it has hardly moved so far
            assert (forecast.quantiles[s, :, UPPER_80] - forecast.quantiles[s, :, LOWER_80] > 0.4 * last).all()
    assert {method for s, method in enumerate(forecast.method) if s not in new} == {"lstm"}


def shops(season: int, length: int, count: int = 6) -> dict[str, list[float]]:
    """Shops with a clear season and little noise, about 100 to 200 each."""
    rng = np.random.default_rng(season)
    t = np.arange(length)
    return {
        f"shop {n}": (100 + 20 * n + 30 * np.sin(2 * np.pi * t / season) + rng.normal(0, 1, length)).tolist()
        for n in range(count)
    }


@pytest.mark.parametrize(
    ("frequency", "season", "length", "model"),
    [
        ("QS", 4, 40, "global"),
        ("D", 7, 90, "global"),
        ("h", 24, 24 * 21, "global"),
        ("MS", 12, 60, "stacked"),
        ("D", 7, 60, "encoder-decoder"),
    ],
)
def test_a_series_that_began_late_is_forecast_near_its_last_value(
    frequency: str, season: int, length: int, model: str
) -> None:
    series = shops(season, length)
    for name, row in {"new": NEW[-(season - 1) :], "one": [500.0]}.items():
        series[name] = [NAN] * (length - len(row)) + row
    recipe = build_recipe(
        "shops",
        frequency=frequency,
        horizon=6,
        source={"series": "shop"},
        model={"architecture": model, "units": 4},
        training={"members": 1} if model == "global" else {"epochs": 2},
        covariates={"calendar": ["month"]} if model == "stacked" else {},
    )

    forecast = train_and_forecast(panel_of(series, frequency=frequency), recipe)

    for name in ("new", "one"):
        s = forecast.series.index(name)
        last = series[name][-1]
        assert forecast.method[s] == "fallback:naive"
        assert forecast.reason[s] is not None
        assert (forecast.mean[s] == last).all()
        assert (forecast.quantiles[s, :, UPPER_80] - forecast.quantiles[s, :, LOWER_80] > 0.2 * last).all()


@pytest.mark.parametrize("model", ["global", "vanilla"])
def test_a_gap_in_the_last_season_is_not_forecast_as_the_value_before_it(model: str) -> None:
    spike = np.where(np.arange(72) % 12 == 0, 200.0, 100.0)  # each January
    rows = {f"shop {n}": (spike * (1 + n) + np.arange(72) % 5).tolist() for n in range(6)}
    rows["gap"] = spike.tolist()
    rows["gap"][60] = NAN  # the last January: the December before it fills the place
    recipe = build_recipe(
        "shops",
        horizon=3,
        source={"series": "shop"},
        model={"architecture": model, "units": 4},
        training={"members": 1} if model == "global" else {"epochs": 2},
    )

    forecast = train_and_forecast(panel_of(rows), recipe)

    s = forecast.series.index("gap")
    assert forecast.method[s] == "lstm"
    assert forecast.mean[s, 0] > 160
    assert (forecast.mean[s, 1:] < 140).all()
