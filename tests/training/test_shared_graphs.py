"""One traced graph fits the members of searches, rehearsals and final fits, and gives what graphs of their own would give."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.timeseries.panel import Panel
from pipeline.training import ensemble, gradient_steps, worker
from pipeline.training.ensemble import fit_ensemble
from pipeline.training.fit_network import FitSettings, _Schedule
from pipeline.training.members import Member, build_members
from tests.support.panels import panel_of

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

GLOBAL = "[model]\narchitecture = 'global'\nunits = 8\npretrained = false\n[training]\nmembers = 2\n"
VANILLA = (
    "[model]\narchitecture = 'vanilla'\nunits = 8\ncontext = 15\ndropout = 0.2\n[training]\nepochs = 3\nmembers = 2\n"
)


@pytest.fixture(autouse=True)
def no_graph_is_there() -> Iterator[None]:
    ensemble._shared_graph.cache_clear()
    yield
    ensemble._shared_graph.cache_clear()


def recipe_of(tables: str) -> Recipe:
    head = (
        'name = "r"\nfrequency = "MS"\nhorizon = 4\n[source]\nkind = "csv"\npath = "x.csv"\nperiod = "p"\nvalue = "v"\n'
    )
    return parse_recipe(head + tables, where="r.toml", folder=Path())


def months(length: int, seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    season = 10 * np.sin(2 * np.pi * np.arange(length) / 12)
    return panel_of([100 + season + np.cumsum(rng.normal(size=length)) for _ in range(3)], frequency="MS")


def members_of(panel: Panel, recipe: Recipe) -> list[Member]:
    members = build_members(panel, recipe)
    return [replace(one, settings=replace(one.settings, epochs=3)) for one in members]


def weights_of(panel: Panel, recipe: Recipe, members: list[Member]) -> list[list[Array]]:
    fitted = fit_ensemble(panel, recipe, members, on_epoch=None).fitted
    return [one.trunk.get_weights() for one in fitted]


def assert_same(one: list[list[Array]], other: list[list[Array]]) -> None:
    for weights, others in zip(one, other, strict=True):
        for weight, same in zip(weights, others, strict=True):
            np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize("tables", [GLOBAL, VANILLA])
def test_a_graph_that_has_fitted_another_panel_gives_the_weights_of_a_new_one(tables: str) -> None:
    recipe, longer, shorter = recipe_of(tables), months(90, 0), months(70, 1)
    members = members_of(longer, recipe)
    alone = weights_of(shorter, recipe, members)
    ensemble._shared_graph.cache_clear()

    weights_of(longer, recipe, members)
    num_graphs = ensemble._shared_graph.cache_info().misses
    shared = weights_of(shorter, recipe, members)

    assert ensemble._shared_graph.cache_info().misses == num_graphs
    assert_same(shared, alone)


def test_members_of_one_architecture_share_a_graph_and_differ_by_their_seeds() -> None:
    recipe, panel = recipe_of(VANILLA), months(70, 0)

    first, second = weights_of(panel, recipe, members_of(panel, recipe))

    assert ensemble._shared_graph.cache_info().misses == 1
    assert not np.array_equal(first[0], second[0])


def test_fits_at_once_give_the_weights_of_fits_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, panel = recipe_of(GLOBAL), months(90, 0)
    members = members_of(panel, recipe)
    monkeypatch.setattr(ensemble, "num_parallel_fits", lambda _: 1)
    in_turn = weights_of(panel, recipe, members)
    monkeypatch.setattr(ensemble, "num_parallel_fits", lambda _: 2)

    assert_same(weights_of(panel, recipe, members), in_turn)


def test_another_learning_rate_and_number_of_epochs_need_no_other_graph() -> None:
    recipe, panel = recipe_of(GLOBAL), months(90, 0)
    members = members_of(panel, recipe)
    other = [replace(one, settings=replace(one.settings, epochs=5, learning_rate=0.02)) for one in members]
    alone = weights_of(panel, recipe, other)
    ensemble._shared_graph.cache_clear()
    weights_of(panel, recipe, members)

    assert_same(weights_of(panel, recipe, other), alone)


@pytest.mark.parametrize(("epochs", "num_windows"), [(1, 16), (4, 400), (30, 4000)])
def test_the_learning_rate_is_that_of_keras(epochs: int, num_windows: int) -> None:
    settings = FitSettings(epochs=epochs, batch_size=16, learning_rate=0.004, loss="mae", seed=0)
    num_steps = epochs * num_windows // 16
    warm_up = min(30, num_steps // 10)
    theirs = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else 0.004, num_steps - warm_up, warmup_target=0.004 if warm_up else None, warmup_steps=warm_up
    )
    ours, constant = _Schedule("cosine"), _Schedule("constant")
    for one in (ours, constant):
        one.begin(settings, num_windows=num_windows)

    for step in {0, 1, warm_up, num_steps // 2, num_steps - 1}:
        assert float(ours(step)) == float(theirs(step))
        assert float(constant(step)) == np.float32(0.004)


def test_small_batches_leave_processors_for_other_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_steps, "_most_parts", lambda: 4)

    assert [gradient_steps.num_parallel_fits(size) for size in (1, 16, 32, 64, 256)] == [4, 4, 2, 1, 1]


def test_a_library_that_is_left_out_of_an_import_can_be_imported_afterwards() -> None:
    with worker._without("wave", "json"):
        with pytest.raises(ImportError):
            import wave
        import json  # was there before

    import wave

    assert wave.open
    assert sys.modules["json"] is json
