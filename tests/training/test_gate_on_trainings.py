"""The gate on trainings in earnest: of 200 twins no more pass than the level, of 100 overfitted networks none."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.evaluation.comparison import forecast_windows
from pipeline.evaluation.promotion import SIGNIFICANCE_LEVEL
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.records.training import PROMOTED, GateRecord
from pipeline.timeseries.panel import Panel
from pipeline.training.champion import read_champion
from tests.support.examples import NOW, SMALL_RECIPE
from tests.support.panels import panel_of

if TYPE_CHECKING:
    from pipeline.training.ensemble import Search

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

LENGTH, MANY_UNITS = 60, 32
#: periods after those that the gate sees, in which it turns out which network is better
FUTURE = 120
#: challengers, and how many of them to a champion
TWINS, OVERFITTED, EACH = 200, 100, 4


@dataclass(frozen=True)
class Contested:
    """What the gate said of a challenger, and the last training loss of both."""

    gate: GateRecord
    champion_loss: float
    challenger_loss: float
    #: of the challenger's later absolute errors to the champion's: above 1 it is worse in truth
    later_ratio: float


def recipe_of(seed: int, **training: Any) -> Recipe:
    """The small recipe, trained in earnest: a dozen epochs or so, with a test part of twelve months."""
    tables = '\n[backtest]\nperiods = 12\n[gate]\nbaseline = "naive"\n'
    plain = parse_recipe(SMALL_RECIPE.format(source="") + tables, where="small.toml", folder=Path())
    changed = {"epochs": 30, "patience": 5, "learning_rate": 0.01, "seed": seed, **training}
    return plain.model_copy(update={"training": plain.training.model_copy(update=changed)})


def seasonal_panel(seed: int, num_series: int) -> Panel:
    """A season of four about a level that holds, with noise: any network of this size beats the last value."""
    length = LENGTH + FUTURE
    values = 100 + 10 * np.sin(np.arange(length) * np.pi / 2)
    values = values + 3 * np.random.default_rng(seed).normal(size=(num_series, length))
    return panel_of({f"s{n}": row for n, row in enumerate(values)}, as_of=NOW)


def contests(
    champion: Callable[[int], Recipe], challenger: Callable[[int], Recipe], *, num_series: int, tries: int
) -> Iterator[Contested]:
    """Of each panel a champion that has not seen the test part, and some challengers, each fitted from a seed of its own."""
    from pipeline.training.train import train

    for number in range(tries // EACH):
        whole, recipe = seasonal_panel(number, num_series), champion(number)
        panel = whole.until(LENGTH - 1)
        before = train(panel.until(LENGTH - 1 - recipe.test_periods), recipe)
        for seed in range(1000 + EACH * number, 1000 + EACH * (number + 1)):
            challenging = train(panel, challenger(seed), champion=read_champion(before.files, hash_model(before.files)))
            keras.backend.clear_session()
            gc.collect()
            assert challenging.record.gate is not None
            yield Contested(
                challenging.record.gate,
                champion_loss=before.record.loss[-1],
                challenger_loss=challenging.record.loss[-1],
                later_ratio=later_error(challenging.files, whole) / later_error(before.files, whole),
            )


def later_error(files: Mapping[str, bytes], whole: Panel) -> float:
    """Mean absolute error of a model's forecasts from every origin after what it was judged on."""
    forecaster = load_forecaster(files, hash_model(files))
    ends = np.arange(LENGTH - 1, LENGTH + FUTURE - forecaster.horizon)
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(whole.series)), ends, indexing="ij"))
    windows = Windows(series, end)
    return float(
        np.abs(read_targets(whole, windows, forecaster.horizon) - forecast_windows(forecaster, whole, windows)).mean()
    )


@pytest.mark.timeout(3600)
def test_a_twin_of_another_seed_is_promoted_in_no_more_than_the_level_of_200_trainings() -> None:
    found = [each.gate for each in contests(recipe_of, recipe_of, num_series=1, tries=TWINS)]

    promoted = sum(gate.outcome == PROMOTED for gate in found)
    tested = sum(gate.p_value is not None for gate in found)
    print(f"{promoted} of {len(found)} twins were promoted; {tested} were better than the baseline")
    assert len(found) == TWINS
    assert tested > TWINS / 2  # the others did not get as far as the paired test
    assert promoted <= SIGNIFICANCE_LEVEL * TWINS


@pytest.mark.timeout(3600)
def test_a_network_that_has_learnt_its_windows_by_heart_is_never_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains on without held-out windows to stop by: less loss on what it has seen, and more on what follows."""
    from pipeline.training import train

    search = train.search_epochs

    def not_stopped(panel: Panel, recipe: Recipe, *rest: Any) -> Search | None:
        return None if recipe.model.units == MANY_UNITS else search(panel, recipe, *rest)

    def overfitted(seed: int) -> Recipe:
        recipe = recipe_of(seed, epochs=400, batch_size=48)
        return recipe.model_copy(update={"model": recipe.model.model_copy(update={"units": MANY_UNITS})})

    monkeypatch.setattr(train, "search_epochs", not_stopped)
    found = list(contests(lambda seed: recipe_of(seed, batch_size=48), overfitted, num_series=6, tries=OVERFITTED))

    overfit = [each for each in found if each.challenger_loss < each.champion_loss and each.later_ratio > 1]
    promoted = [each.gate.reason for each in overfit if each.gate.outcome == PROMOTED]
    print(
        f"{len(overfit)} of {len(found)} were overfitted: less training loss, and more error later; {len(promoted)} were promoted"
    )
    print(f"of those with less error later {sum(each.gate.outcome == PROMOTED for each in found) - len(promoted)}")
    assert len(overfit) > 0.8 * OVERFITTED
    assert promoted == []
