"""A recipe starts from the network that ships with the package, where there is one for it, and stays near it."""

from __future__ import annotations

import io
import json
import logging
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import MODEL_FILES, build_manifest, hash_model
from pipeline.models.pretrained import load_pretrained
from pipeline.timeseries.panel import Panel
from pipeline.training import history
from pipeline.training.history import choose_configs, describe_shortage
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.support.global_forecasts import loaded
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

Array = npt.NDArray[np.float64]

tensorflow = pytest.mark.tensorflow
HORIZON = 6


def sales(length: int, *, sign: float = 1.0) -> Panel:
    """Monthly values with a trend, a season and noise; below 0 where the sign is -1."""
    month = np.arange(length)
    noise = np.random.default_rng(0).normal(0, 2, length)
    return panel_of({"shop": sign * (100 + 0.5 * month + 20 * np.sin(2 * np.pi * month / 12) + noise)})


def recipe_of(**keys: Any) -> Recipe:
    return build_recipe("sales", **{"horizon": HORIZON, **keys})


def train(panel: Panel, recipe: Recipe, **job: Any) -> TrainedModel:
    return run_training(
        TrainingJob(panel=panel, recipe=recipe, **{"training": "retrain", "reason": "no model yet", **job})
    )


def weights_of(model: TrainedModel) -> dict[str, Array]:
    with np.load(io.BytesIO(model.files["weights.npz"])) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(sales(72), recipe_of())


@tensorflow
def test_the_record_names_the_network_that_each_member_began_with(trained: TrainedModel) -> None:
    network = load_pretrained("season-12")
    assert network is not None
    assert all(", 96 units, moved by " in design for design in trained.record.designs)
    assert [design.rpartition("pretrained ")[2] for design in trained.record.designs] == [
        f"season-12/{n}@{network.weights_hash[:12]}" for n in range(3)
    ]
    assert trained.record.validation_loss == ()  # no single stretch decides when to stop
    assert len(trained.record.loss) == 4


@tensorflow
def test_it_is_much_better_than_last_year_s_values(trained: TrainedModel) -> None:
    assert trained.record.backtest is not None
    scores = trained.record.backtest.scores
    ours, seasonal = scores["lstm"]["mase"], scores["seasonal-naive"]["mase"]
    assert ours is not None
    assert seasonal is not None
    assert ours < 0.8 * seasonal


@tensorflow
def test_fine_tuning_begins_with_the_champion_not_with_the_shipped_network(trained: TrainedModel) -> None:
    further = train(
        sales(72), recipe_of(), training="fine-tune", champion=trained.files, champion_hash=hash_model(trained.files)
    )

    before, after = weights_of(trained), weights_of(further)
    network = load_pretrained("season-12")
    assert network is not None
    moved = np.abs(after["0.000"] - before["0.000"]).mean()
    assert 0 < moved < np.abs(after["0.000"] - network.weights[0]["lstm_cell/kernel"]).mean()
    for before_it, design in zip(trained.record.designs, further.record.designs, strict=True):
        assert design.startswith(before_it)  # and after how many steps it stopped


@tensorflow
def test_a_champion_of_another_version_of_the_network_is_replaced_where_it_would_have_to_be_fitted_again(
    trained: TrainedModel,
) -> None:
    """The recipe has changed, so that champion and challenger must both be fitted without the test part."""
    fields = json.loads(trained.files["forecaster.json"])
    for member in fields["members"]:
        member["pretrained"] = member["pretrained"].partition("@")[0] + "@0123456789ab"
    files = {**trained.files, "forecaster.json": json.dumps(fields).encode()}
    files["manifest.json"] = build_manifest({name: files[name] for name in MODEL_FILES})
    changed = recipe_of(training={"seed": 1})

    same = train(sales(72), changed, champion=trained.files, champion_hash=hash_model(trained.files))
    other = train(sales(72), changed, champion=files, champion_hash=hash_model(files))

    assert same.record.gate is not None
    assert same.record.gate.champion is not None
    assert other.record.gate is not None
    assert other.record.gate.reason == (
        "the champion began with a pretrained network that this installation does not have"
    )
    assert other.record.gate.outcome == "promoted"


@tensorflow
@pytest.mark.parametrize(("num_series", "least", "most"), [(1, 0.0, 0.34), (24, 0.5, 1.0)])
def test_the_weights_move_as_far_as_held_out_origins_are_evidence_for_it(
    num_series: int, least: float, most: float
) -> None:
    """Every second year is another one, which no pretrained network expects; of one series it is hardly believed."""
    from pipeline.training.ensemble import search_epochs

    rng, month = np.random.default_rng(3), np.arange(120)
    years = 100 + 40 * (month // 12 % 2) + 20 * np.sin(2 * np.pi * month / 12)
    panel = panel_of([years * rng.uniform(0.5, 2) + rng.normal(0, 1, len(month)) for _ in range(num_series)])

    search = search_epochs(panel, recipe_of(horizon=12), len(panel.grid) - 13, None)

    assert search is not None
    assert search.moved is not None
    assert least <= search.moved <= most


@tensorflow
def test_where_held_out_origins_speak_against_moving_nothing_is_fitted() -> None:
    from pipeline.training.ensemble import FitPlan, Search

    plan = FitPlan(recipe=recipe_of(), search=Search(epochs=4, shrinkage=1.0, moved=0.0))

    ensemble = plan.fit(sales(72), None)

    assert ensemble is not None
    network = load_pretrained("season-12")
    assert network is not None
    assert [fitted.loss for fitted in ensemble.fitted] == [()] * 3
    for fitted, shipped in zip(ensemble.fitted, network.weights, strict=True):
        np.testing.assert_array_equal(fitted.trunk.get_weights()[0], shipped["lstm_cell/kernel"])


@tensorflow
def test_a_long_history_holds_out_more_horizons_as_evidence() -> None:
    from pipeline.training.ensemble import _num_held_out

    recipe = recipe_of(horizon=12)

    assert [_num_held_out(sales(length), recipe) for length in (60, 168, 300, 2000)] == [2, 2, 5, 10]
    assert _num_held_out(sales(2000), recipe_of(horizon=12, model={"pretrained": False})) == 2


@tensorflow
def test_the_horizons_that_are_held_out_are_those_that_most_series_have() -> None:
    from pipeline.training.ensemble import _num_held_out

    months = np.arange(600) % 12 + 1.0

    def panel_with(num_short: int) -> Panel:
        return panel_of({"long": months, **{f"short {n}": months[-180:] for n in range(num_short)}})

    assert _num_held_out(panel_with(0), recipe_of(horizon=12)) == 10
    assert _num_held_out(panel_with(2), recipe_of(horizon=12)) == 3
    assert _num_held_out(panel_with(120), recipe_of(horizon=24)) == 2


@tensorflow
def test_members_of_its_own_join_where_they_bring_more_than_a_little() -> None:
    from pipeline.training.ensemble import FitPlan, Search, _choose_share

    assert _choose_share([1.0, 0.9, 0.8, 0.85, 0.95]) == (0.5, False)
    assert _choose_share([1.0, 0.9, 0.8, 0.85, 0.95, 0.795, 0.796, 0.8, 0.9, 0.9]) == (0.5, False)
    assert _choose_share([1.0, 0.9, 0.8, 0.85, 0.95, 0.75, 0.78, 0.8, 0.9, 0.9]) == (0.0, True)

    panel = panel_of([np.arange(40) % 12 + n + 1.0 for n in range(1000)])
    for search, number in (
        (None, 3),
        (Search(epochs=4, shrinkage=1.0, moved=0.5), 3),
        (Search(epochs=4, shrinkage=1.0, moved=0.5, has_own_members=True), 6),
    ):
        assert len(FitPlan(recipe=recipe_of(horizon=12), search=search).members(panel)) == number


@tensorflow
def test_own_members_are_fitted_beside_a_network_that_stays_as_it_is() -> None:
    from pipeline.training.ensemble import FitPlan, Search

    rng, month = np.random.default_rng(0), np.arange(40)
    panel = panel_of([100 + 20 * np.sin(2 * np.pi * month / 12) + rng.normal(0, 1, 40) for _ in range(1000)])
    recipe = recipe_of(horizon=12)
    plan = FitPlan(recipe=recipe, search=Search(epochs=16, shrinkage=1.0, moved=0.0, has_own_members=True))

    ensemble = plan.fit(panel, None)

    assert ensemble is not None
    assert [len(fitted.loss) > 0 for fitted in ensemble.fitted] == [False] * 3 + [True] * 3


@tensorflow
def test_windows_that_hardly_change_do_not_decide_what_is_best_on_held_out_ones() -> None:
    from pipeline.training.ensemble import _held_out_errors

    target, scale = np.zeros((200, 2)), np.ones((200, 1))
    scale[0] = 1e-6
    first, second = np.ones((200, 2)), np.full((200, 2), 2.0)
    first[0], second[0] = 100.0, 0.0

    errors = _held_out_errors([first, second], target, scale)

    assert errors is not None
    assert errors[0] < errors[1]
    unknown = np.full((200, 2), np.nan)
    assert _held_out_errors([first, unknown], target, scale) is None


@tensorflow
def test_a_history_with_no_window_to_fit_on_is_forecast_by_the_network_as_it_is() -> None:
    panel, recipe = sales(14), recipe_of()

    short = train(panel, recipe)

    assert short.record.loss == ()
    network = load_pretrained("season-12")
    assert network is not None
    np.testing.assert_array_equal(weights_of(short)["0.000"], network.weights[0]["lstm_cell/kernel"])
    assert all("moved by 0% from" in design for design in short.record.designs)
    forecast = forecast_panel(loaded(short), panel, recipe, loaded(short).calibration)
    assert forecast.method == ("lstm",)
    assert np.isfinite(forecast.quantiles).all()
    assert (np.abs(forecast.mean / sales(20).values[-HORIZON:] - 1) < 0.25).all()


@tensorflow
def test_a_network_that_was_published_as_it_is_is_fitted_when_the_history_has_grown() -> None:
    short = train(sales(14), recipe_of())

    later = train(
        sales(40), recipe_of(), training="fine-tune", champion=short.files, champion_hash=hash_model(short.files)
    )

    assert len(later.record.loss) > 0
    assert (weights_of(later)["0.000"] != weights_of(short)["0.000"]).any()


@tensorflow
def test_values_below_0_are_read_too() -> None:
    panel = sales(72, sign=-1.0)

    model = train(panel, recipe_of())

    forecast = forecast_panel(loaded(model), panel, recipe_of())
    assert forecast.method == ("lstm",)
    assert (np.abs(forecast.mean / sales(78, sign=-1.0).values[-HORIZON:] - 1) < 0.15).all()


@pytest.mark.parametrize(
    "keys",
    [
        {"model": {"pretrained": False}},
        {"horizon": 25},
        {"season_length": 13},
        {"training": {"loss": "mae"}},
        {"training": {"members": 4}},
        {"model": {"units": 32}},
        {"covariates": {"future": ["promotion"]}},
    ],
    ids=str,
)
def test_where_there_is_none_for_a_recipe_the_members_start_from_their_seeds(keys: dict[str, Any]) -> None:
    assert not any(config.pretrained for config in choose_configs(sales(90), recipe_of(**keys)))


def test_as_many_members_as_the_recipe_asks_for_begin_with_the_pretrained_ones() -> None:
    configs = choose_configs(sales(90), recipe_of(training={"members": 2}))

    assert [str(config.pretrained).partition("@")[0] for config in configs] == ["season-12/0", "season-12/1"]


def test_a_history_shorter_than_a_season_is_left_to_members_that_need_less() -> None:
    assert all(config.pretrained for config in choose_configs(sales(12), recipe_of()))
    assert not any(config.pretrained for config in choose_configs(sales(11), recipe_of()))
    assert describe_shortage(sales(12), recipe_of()) is None
    shortage = describe_shortage(sales(5), recipe_of())
    assert shortage is not None
    assert shortage.startswith("no network can be trained yet")


def test_a_damaged_installation_is_reported_once_and_training_from_scratch_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        raise ModelRefused(f"the pretrained network {name} of this installation is damaged: install nextperiod again")

    monkeypatch.setattr(history, "load_pretrained", refuse)
    monkeypatch.setattr(history, "_load_or_warn", cache(history._load_or_warn.__wrapped__))

    with caplog.at_level(logging.WARNING):
        configs = [config for length in (72, 84) for config in choose_configs(sales(length), recipe_of())]

    assert not any(config.pretrained for config in configs)
    (line,) = caplog.messages
    assert line == (
        "the pretrained network season-12 of this installation is damaged: install nextperiod again; "
        "the network is trained from scratch"
    )


@pytest.mark.parametrize(("num_series", "fit"), [(1, (100, 16)), (9, (100, 16)), (10, (150, 32)), (100, (400, 128))])
def test_a_larger_panel_is_fitted_in_more_and_larger_steps(num_series: int, fit: tuple[int, int]) -> None:
    panel = panel_of([sales(72).values] * num_series)

    assert {(config.steps, config.batch_size) for config in choose_configs(panel, recipe_of())} == {fit}


def test_a_panel_of_very_many_series_has_members_of_its_own_beside_the_pretrained_ones() -> None:
    panel = panel_of([sales(72).values] * 1000)

    begun = [config.pretrained is not None for config in choose_configs(panel, recipe_of())]

    assert begun == [True, True, True, False, False, False]
    short = panel_of([sales(14).values] * 1000)  # nothing to fit the pretrained members on: they forecast as they are
    assert all(config.pretrained for config in choose_configs(short, recipe_of()))


@pytest.mark.parametrize(
    ("frequency", "season", "length", "num_series", "is_pretrained"),
    [
        ("D", 7, 400, 1, True),
        ("D", 7, 600, 9, False),  # long, and many values
        ("D", 7, 90, 200, True),  # many values, but short
        ("D", 1, 600, 1, False),  # long, without a season
        ("h", 24, 1200, 1, True),
        ("h", 24, 1200, 9, False),  # many values of a long season
        ("B", 5, 300, 3, True),
        ("W-MON", 52, 260, 3, True),
    ],
)
def test_histories_that_tell_more_of_themselves_are_fitted_from_scratch(
    frequency: str, season: int, length: int, num_series: int, is_pretrained: bool
) -> None:
    rng = np.random.default_rng(0)
    panel = panel_of([(100 + rng.normal(size=length)).tolist() for _ in range(num_series)], frequency=frequency)
    recipe = recipe_of(frequency=frequency, season_length=season)

    assert {bool(config.pretrained) for config in choose_configs(panel, recipe)} == {is_pretrained}
