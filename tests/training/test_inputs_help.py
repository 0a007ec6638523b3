"""What is read beside the values brings what it should: each planted effect is found, and only with its input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.recipe import Recipe
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.panel import Panel, add_other_series
from pipeline.training.ensemble import FitPlan
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

LENGTH, HORIZON = 360, 3
VANILLA = {
    "model": {"context": 8, "scaling": "standard"},
    "training": {"epochs": 25, "learning_rate": 0.01},
}
GLOBAL_NETWORK = {"model": {}, "training": {"members": 1}}
BOTH = pytest.mark.parametrize("architecture", ["vanilla", "global"])


def recipe_of(architecture: str, covariates: str = "") -> Recipe:
    tables = VANILLA if architecture == "vanilla" else GLOBAL_NETWORK
    return build_recipe(
        "planted",
        frequency="D",
        season_length=1,
        source={"period": "day"},
        covariates=covariates,
        model={"architecture": architecture, "units": 16, **tables["model"]},
        training=tables["training"],
    )


def error_of(recipe: Recipe, panel: Panel, series: int, step: int) -> float:
    """Mean absolute error of one step over the last 40 origins, which the network has not seen."""
    cutoff = LENGTH - 45
    earlier = panel.until(cutoff)
    ensemble = FitPlan(recipe=recipe).fit(earlier, on_epoch=None)
    assert ensemble is not None
    ends = np.arange(cutoff + 1, LENGTH - HORIZON)
    windows = Windows(np.full(len(ends), series), ends)
    inputs = ensemble.prepare_inputs(panel, windows)
    quantiles = ensemble.quantiles(ensemble.build_network(), inputs)
    middle = quantiles[:, step - 1, quantiles.shape[2] // 2]
    return float(np.abs(middle - panel.series_values(series)[ends + step]).mean())


@BOTH
def test_an_effect_that_is_known_ahead_is_forecast(architecture: str) -> None:
    rng = np.random.default_rng(0)
    offer = (rng.random(LENGTH + HORIZON) < 0.3).astype(float)
    bare = panel_of([20 + 10 * offer[:LENGTH] + 0.3 * rng.normal(size=LENGTH)], frequency="D", start="2024-01-01")
    told = replace(bare, future={"offer": offer}, ahead=HORIZON)

    with_it = error_of(recipe_of(architecture, 'future = ["offer"]'), told, 0, 2)

    assert with_it < 0.5 * error_of(recipe_of(architecture), bare, 0, 2)


@BOTH
def test_a_series_that_follows_another_is_forecast_from_it(architecture: str) -> None:
    rng = np.random.default_rng(1)
    leader = 50 + rng.normal(size=LENGTH)
    follower = np.append(50.0, leader[:-1]) + 0.05 * rng.normal(size=LENGTH)
    bare = panel_of([leader, follower], frequency="D", start="2024-01-01")

    with_it = error_of(recipe_of(architecture, "other_series = true"), add_other_series(bare), 1, 1)

    assert with_it < 0.5 * error_of(recipe_of(architecture), bare, 1, 1)


@BOTH
def test_the_day_of_the_week_is_forecast_from_the_calendar(architecture: str) -> None:
    rng = np.random.default_rng(2)
    panel = panel_of(
        [20 + 10.0 * (np.arange(LENGTH) % 7 == 2) + 0.3 * rng.normal(size=LENGTH)], frequency="D", start="2024-01-01"
    )

    with_it = error_of(recipe_of(architecture, 'calendar = ["weekday"]'), panel, 0, 2)

    assert with_it < 0.7 * error_of(recipe_of(architecture), panel, 0, 2)
