"""Every active series gets its full set of rows, each saying by which method and why; a bad one changes no other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.recipe import Recipe
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.timeseries.forecast import Forecast
from pipeline.training.process_files import TrainedModel
from tests.support.examples import small_recipe, small_values
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]

NAN, LENGTH, NUM_SERIES = float("nan"), 40, 120
#: by what is wrong: the values, and how the series is forecast then
POISONED: dict[str, tuple[Array, str]] = {
    "flat": (np.full(LENGTH, 5.0), "lstm"),
    "flat at zero": (np.zeros(LENGTH), "lstm"),
    "missing but for its first value": (np.append(7.0, np.full(LENGTH - 1, NAN)), "fallback:last-value"),
    "too short": (np.append(np.full(LENGTH - 3, NAN), [5.0, 6, 7]), "fallback:naive"),
    "new": (np.append(np.full(LENGTH - 1, NAN), 5.0), "fallback:naive"),
    "exploding": (10.0 ** np.linspace(0, 15, LENGTH), "any"),
    "missing at its end": (np.append(np.array(small_values()[:-4]), np.full(4, NAN)), "fallback:seasonal-naive"),
    "missing at its end, and short": (
        np.append(np.full(30, NAN), [1.0, 2, 3, 4, 5, NAN, NAN, NAN, NAN, NAN]),
        "fallback:last-value",
    ),
    # half of the places of a season are never observed
    "missing every other": (np.where(np.arange(LENGTH) % 2, np.array(small_values()), NAN), "fallback:naive"),
    "alternating between extremes": (np.where(np.arange(LENGTH) % 2, 1e15, -1e15), "any"),
}


def sound() -> dict[str, Array]:
    """Seasons of four of many sizes."""
    rng = np.random.default_rng(0)
    return {
        f"sound {n:03d}": np.array(small_values()) * 10 ** rng.uniform(-3, 6) * rng.normal(1, 0.05, LENGTH)
        for n in range(NUM_SERIES)
    }


@pytest.fixture(scope="module")
def trained(outcome: TrainedModel) -> Forecaster:
    return load_forecaster(outcome.files, hash_model(outcome.files))


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """Series that have ended are forecast, too."""
    recipe = small_recipe()
    return recipe.model_copy(update={"publish": recipe.publish.model_copy(update={"inactive": "keep"})})


def numbers(forecast: Forecast, series: str) -> bytes:
    s = forecast.series.index(series)
    arrays = (forecast.mean, forecast.quantiles, forecast.baseline, forecast.scale)
    return b"".join(np.ascontiguousarray(array[s]).tobytes() for array in arrays)


@pytest.mark.parametrize("seed", range(3))
def test_poisoned_series_get_labelled_rows_and_the_others_stay_bit_by_bit(
    trained: Forecaster, recipe: Recipe, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    clean = sound()
    victims = rng.choice(list(clean), len(clean) // 20, replace=False)
    kinds = rng.choice(list(POISONED), len(victims), replace=False)
    poisoned = clean | {name: POISONED[kind][0] for name, kind in zip(victims, kinds, strict=True)}

    before, after = (forecast_panel(trained, panel_of(rows), recipe) for rows in (clean, poisoned))

    assert after.series == before.series
    assert after.num_rows == NUM_SERIES * recipe.horizon
    assert set(before.method) == {"lstm"}
    for name, kind in zip(victims, kinds, strict=True):
        method = after.method[after.series.index(name)]
        assert method == POISONED[kind][1] or POISONED[kind][1] == "any", kind
        assert (after.reason[after.series.index(name)] is None) == (method == "lstm")
    for name in set(clean) - set(victims):
        assert after.method[after.series.index(name)] == "lstm"
        assert numbers(after, name) == numbers(before, name)


@pytest.mark.parametrize("kind", POISONED)
def test_each_kind_of_poison_is_answered_with_finite_labelled_rows(
    trained: Forecaster, recipe: Recipe, kind: str
) -> None:
    values, method = POISONED[kind]

    made = forecast_panel(trained, panel_of({"sound": np.array(small_values()), "poisoned": values}), recipe)

    assert made.method[0] == "lstm"
    assert made.method[1] == method or (method == "any" and made.method[1] in ("lstm", "fallback:seasonal-naive"))
    assert np.isfinite(made.quantiles).all()
    assert (np.diff(made.quantiles, axis=-1) >= 0).all()


def test_a_series_that_the_champion_forecasts_worse_is_the_baseline_s_with_the_reason(
    trained: Forecaster, recipe: Recipe
) -> None:
    panel, why = panel_of(sound()), "worse than seasonal-naive over 6 test periods: MASE 1.50 against 1.00"
    plain = forecast_panel(trained, panel, recipe)

    made = forecast_panel(trained, panel, recipe, worse={"sound 007": why, "gone": "worse"})

    assert made.method[7] == "fallback:seasonal-naive"
    assert made.reason[7] == why
    assert (made.mean[7] == plain.baseline[7]).all()
    assert [n for n in range(NUM_SERIES) if made.method[n] != "lstm"] == [7]
    assert all(numbers(made, name) == numbers(plain, name) for name in made.series if name != "sound 007")
