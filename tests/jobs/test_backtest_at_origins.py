"""A backtest from rolling origins in earnest: each fit is a training at that origin, and nothing later is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.evaluation.rolling_origin import BacktestPlan, RollingBacktest
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.jobs.backtest import backtest
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.training.process import run_fits, run_training
from pipeline.training.process_files import TrainingJob
from tests.storage.small_store import take_in
from tests.support.examples import NOW, small_batch, small_panel, small_recipe, small_values

pytestmark = pytest.mark.tensorflow

#: forty months, three ahead: the origins are the 34th and the 37th
FIRST, SECOND = 33, 36
PLAN = BacktestPlan(num_origins=2)
SENTINEL = 1e6


@contextmanager
def store_of(folder: Path, values: list[float]) -> Iterator[Store]:
    """A store that knows these months."""
    database = open_database(f"sqlite:///{folder}/store.db")
    require_schema(database)
    store = Store(database)
    store.recipes.register(small_recipe())
    take_in(store, small_batch(values), NOW)
    yield store
    database.close()


def made_of(
    folder: Path, values: list[float], plan: BacktestPlan = PLAN, recipe: Recipe | None = None
) -> RollingBacktest:
    with store_of(folder, values) as store:
        return backtest(recipe or small_recipe(), store, lambda: NOW, plan)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RollingBacktest:
    """Two origins."""
    return made_of(tmp_path_factory.mktemp("made"), small_values())


def test_each_origin_is_fitted_on_what_came_before_it(made: RollingBacktest) -> None:
    grid = small_panel().grid

    assert [one.origin for one in made.origins] == [grid[FIRST], grid[SECOND]]
    assert [one.cutoff for one in made.origins] == [grid[FIRST], grid[SECOND]]
    assert [(one.num_periods, one.known, one.num_fallback) for one in made.origins] == [(34, "cut", 0), (37, "cut", 0)]
    np.testing.assert_array_equal(made.observed[:, 0], [small_values()[34:37], small_values()[37:]])
    assert np.isfinite([value for of in made.scores().values() for value in of.values() if value is not None]).all()
    assert None not in made.scores()["lstm"].values()


def test_what_is_said_there_is_what_a_training_then_would_have_published(made: RollingBacktest) -> None:
    """Also of the second origin, which is fitted where another one was before."""
    panel = small_panel().until(SECOND)
    files = run_training(TrainingJob(panel=panel, recipe=small_recipe(), training="retrain", reason="then")).files

    forecaster = load_forecaster(files, hash_model(files))
    published = forecast_panel(forecaster, panel, small_recipe())

    np.testing.assert_array_equal(made.forecasts["lstm"].mean[1], published.mean)
    np.testing.assert_array_equal(made.forecasts["lstm"].quantiles[1], published.quantiles)
    np.testing.assert_array_equal(made.scale[1, :, 0], published.scale)


@pytest.mark.parametrize(("after", "unchanged"), [(FIRST, 1), (SECOND, 2)])
def test_what_came_after_an_origin_changes_nothing_of_it(
    made: RollingBacktest, tmp_path: Path, after: int, unchanged: int
) -> None:
    values = small_values()[: after + 1] + [SENTINEL] * (len(small_values()) - after - 1)

    other = made_of(tmp_path, values)

    same = slice(0, unchanged)
    for method, said in made.forecasts.items():
        np.testing.assert_array_equal(other.forecasts[method].mean[same], said.mean[same])
        np.testing.assert_array_equal(other.forecasts[method].quantiles[same], said.quantiles[same])
    np.testing.assert_array_equal(other.scale[same], made.scale[same])
    np.testing.assert_array_equal(other.root_scale[same], made.root_scale[same])
    assert (other.observed[unchanged - 1] == SENTINEL).all()


def test_a_network_fitted_once_forecasts_from_all_origins(made: RollingBacktest, tmp_path: Path) -> None:
    once = made_of(tmp_path, small_values(), BacktestPlan(num_origins=2, refit="once"))

    assert [one.cutoff for one in once.origins] == [small_panel().grid[FIRST]] * 2
    np.testing.assert_array_equal(once.forecasts["lstm"].mean[0], made.forecasts["lstm"].mean[0])
    assert (once.forecasts["lstm"].mean[1] != made.forecasts["lstm"].mean[1]).any()
    np.testing.assert_array_equal(once.forecasts["drift"].mean, made.forecasts["drift"].mean)


def test_a_fit_that_cannot_be_made_is_refused_with_its_origin() -> None:
    """The last month is known, the ones before it are not: no window of eight ends with a target."""
    whole = small_panel()
    values = whole.values.copy()
    values[1:39] = np.nan
    empty = small_panel(values.tolist())

    with pytest.raises(ModelRefused, match=r"origin 2023-04-01: no series has a window to fit on"):
        run_fits([whole, empty], small_recipe())
