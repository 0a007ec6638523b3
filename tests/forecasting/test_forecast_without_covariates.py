"""What is published where covariates are not known ahead: the baseline from there on, nothing, or the last value."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.errors import CovariateMissing, InvalidRecipe, is_refusal
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.fallback import forecast_panel
from pipeline.jobs.inputs import check_covariates
from pipeline.preprocessing.windows import ContextRequirements
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

NAN = float("nan")
LENGTH, HORIZON = 24, 4
#: what the network forecasts for every step
FORECAST = 30.0


@dataclass
class Network:
    """Forecasts the same number for every step of every series."""

    requirement_text: str = "it lacks what the network needs"
    reads_logarithms: bool = False

    @property
    def needs(self) -> ContextRequirements:
        return ContextRequirements(context=8, least_length=8, least_known=4)

    def predict(self, panel: Panel) -> Any:
        mean = np.full((len(panel.series), HORIZON), FORECAST)
        return np.arange(len(panel.series)), mean, mean[:, :, None] + np.linspace(-1, 1, len(LEVELS))


def recipe_with(missing: str | None = "fallback") -> Recipe:
    recipe = build_recipe(
        "shop", frequency="D", horizon=HORIZON, season_length=4, covariates={"future": ["promo"], "missing": "fallback"}
    )
    covariates = recipe.covariates.model_copy(update={"missing": missing})
    return recipe.model_copy(update={"covariates": covariates})


def panel_with(*known: int) -> Panel:
    """One series for each number of periods ahead for which its promotions are known."""
    panel = panel_of([np.arange(LENGTH) % 4 + 10.0 + s for s in range(len(known))], frequency="D")
    promo = np.zeros((len(known), LENGTH + HORIZON))
    for s, count in enumerate(known):
        promo[s, LENGTH + count :] = NAN
    return replace(panel, future={"promo": promo.ravel()}, ahead=HORIZON)


def forecast_of(panel: Panel, recipe: Recipe, **keys: Any) -> Forecast:
    network: Any = Network()
    return forecast_panel(network, panel, recipe, **keys)


def test_each_series_falls_back_from_its_first_unknown_step_on() -> None:
    panel = panel_with(4, 0, 1, 3)
    baseline = forecast_naive(panel, HORIZON, 4).mean

    forecast = forecast_of(panel, recipe_with())

    assert forecast.method == ("lstm", *["fallback:seasonal-naive"] * 3)
    assert forecast.network_steps == (0, 0, 1, 3)
    assert forecast.reason == (
        None,
        "promo is not known for 4 of 4 periods ahead",
        "promo is not known for 3 of 4 periods ahead",
        "promo is not known for 1 of 4 periods ahead",
    )
    for s, count in enumerate((4, 0, 1, 3)):
        assert forecast.mean[s].tolist() == [FORECAST] * count + baseline[s, count:].tolist()


def test_each_row_says_by_which_method_it_was_made() -> None:
    frame = forecast_of(panel_with(4, 1), recipe_with()).to_frame()

    assert frame["method"].tolist() == ["lstm"] * 5 + ["fallback:seasonal-naive"] * 3
    assert frame["reason"].isna().tolist() == [True] * 5 + [False] * 3


def test_another_reason_to_fall_back_comes_first() -> None:
    worse = {"a": "worse than seasonal-naive over 6 test periods"}

    forecast = forecast_of(panel_with(1), recipe_with(), worse=worse)

    assert (forecast.reason, forecast.network_steps) == ((worse["a"],), (0,))


def test_the_last_value_is_carried_forward_with_a_reason_where_the_recipe_says_so() -> None:
    forecast = forecast_of(panel_with(4, 0), recipe_with("last"))

    assert forecast.method == ("lstm", "lstm")
    assert forecast.reason == (
        None,
        "promo is not known for 4 of 4 periods ahead: the last value is carried forward",
    )
    assert forecast.mean.tolist() == [[FORECAST] * HORIZON] * 2


def test_a_recipe_stored_before_the_key_existed_means_what_it_meant() -> None:
    definition = json.loads(recipe_with().model_dump_json())
    del definition["covariates"]["missing"]

    recipe = recipe_from_definition(definition)
    forecast = forecast_of(panel_with(0), recipe)

    assert recipe.covariates.carries_forward
    assert (forecast.method, forecast.reason) == (("lstm",), (None,))
    assert recipe.training_fingerprint == recipe_with().training_fingerprint
    assert recipe_from_definition(json.loads(recipe_with("last").model_dump_json())).covariates.missing == "last"


def test_a_new_recipe_says_fallback_unless_it_says_otherwise() -> None:
    assert build_recipe("shop", covariates={"future": ["promo"]}).covariates.missing == "fallback"
    with pytest.raises(InvalidRecipe, match=r'"covariates.missing": .*fallback.*error.*last.*received .zero.'):
        build_recipe("shop", covariates={"future": ["promo"], "missing": "zero"})


def test_a_forecast_is_refused_where_the_recipe_says_error() -> None:
    check_covariates(panel_with(4), recipe_with("error"))

    with pytest.raises(CovariateMissing) as refused:
        check_covariates(panel_with(4, 0, 2), recipe_with("error"))

    assert is_refusal(refused.value)
    assert str(refused.value) == (
        'shop: promo is not known for 4 of 4 periods ahead of "b", one of 2 such series; nothing was published: deliver '
        'its missing values, or set covariates.missing = "fallback"'
    )


@pytest.mark.parametrize(
    ("missing", "what"),
    [
        ("fallback", "the baseline stands in from there on"),
        ("last", "the last value is carried forward"),
        (None, "the last value is carried forward"),
    ],
)
def test_what_is_not_known_is_warned_of(missing: str | None, what: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_covariates(panel_with(4), recipe_with(missing))
        check_covariates(panel_with(1), recipe_with(missing))

    (warning,) = caplog.messages
    assert warning == f"shop: promo is not known for 3 of 4 periods ahead; {what}: deliver its missing values"


def test_hashes_of_forecasts_without_such_series_stay_as_they_were() -> None:
    forecast = forecast_of(panel_with(4, 4), recipe_with())

    assert forecast.content_hash == replace(forecast, network_steps=()).content_hash
