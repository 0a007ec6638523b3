"""The global network: its two ways to make steps of a window, its base, and what it reads beside the values."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from pipeline.config.architectures import GLOBAL
from pipeline.models.global_lstm import build_trunk, gather_ahead, step_features
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import build_forecast_network
from pipeline.models.specs import InputSpec
from pipeline.models.window_steps import make_steps
from pipeline.training.export import predict
from tests.support.networks import CONTEXT, FOLD, FRAME, HORIZON, RICH, single, trunk_of, windows_for

pytestmark = pytest.mark.tensorflow

BOTH = pytest.mark.parametrize("config", [FRAME, FOLD], ids=["frame", "fold"])


@BOTH
def test_a_forecast_moves_with_the_level_of_its_window(config: GlobalLSTMConfig) -> None:
    network = build_forecast_network(trunk_of(GLOBAL, config=config))
    usual = windows_for()
    moved = {"context": usual["context"] + np.array([100.0, 0.0])}

    np.testing.assert_allclose(predict(network, moved) - 100, predict(network, usual), atol=1e-3)


@BOTH
def test_the_base_is_the_last_season(config: GlobalLSTMConfig) -> None:
    scaled, base, scale, _ = trunk_of(GLOBAL, config=replace(config, base=2), levels=1)(single(windows_for()))

    last = windows_for()["context"][:, -2:, 0]
    np.testing.assert_allclose(np.asarray(base)[:, -1], last[:, [0, 1, 0]], rtol=1e-6)
    assert scaled.shape[1:] == (base.shape[1], HORIZON, 1)
    assert (np.asarray(scale) > 0).all()


def test_a_frame_is_relative_to_its_own_last_value_and_volatility() -> None:
    x = np.array([1.0, 3.0, 4.0, 8.0])
    window = keras.ops.convert_to_tensor(np.stack([x, [0, 1, 1, 1]], axis=-1)[None].astype(np.float32))

    made = make_steps(window, replace(FRAME, size=3), 2)

    # the change from the unknown 1 to 3 does not count
    np.testing.assert_allclose(np.asarray(made.scale)[0, :, 0], [2 * 1 + 1e-3, 2 * 2.5 + 1e-3], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(made.steps)[0, 0, :3], np.array([-3, -1, 0]) / 2.001, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(made.steps)[0, 0, 3], 0.5 * np.log(2.001), rtol=1e-5)
    assert np.asarray(made.base)[0].tolist() == [[4, 4], [8, 8]]
    assert np.asarray(made.weight)[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    "config",
    [
        replace(FRAME, base=2),
        replace(FRAME, base=4),
        replace(FRAME, base=4, gated=True),
        replace(FOLD, base=4),
        replace(FOLD, base=4, profile=8),
    ],
    ids=["frame, base 2", "frame, base 4", "frame, gated base", "fold", "fold with a profile"],
)
def test_what_fills_a_gap_is_neither_base_nor_scale(config: GlobalLSTMConfig) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(5, CONTEXT))
    is_known = np.ones_like(values)
    is_known[0, :3] = 0  # began later
    is_known[1, [6, 10]] = 0  # a gap in the last season, which the season before fills
    is_known[2, 8:10] = 0
    is_known[3, ::5] = 0
    is_known[:, -1] = 1

    made, other = (
        make_steps(
            keras.ops.convert_to_tensor(np.stack([_fill(values, is_known, by), is_known], axis=-1).astype(np.float32)),
            config,
            HORIZON,
        )
        for by in (0.0, 50.0)
    )

    counts = np.asarray(made.weight) > 0
    np.testing.assert_array_equal(counts, np.asarray(other.weight) > 0)
    assert counts[:, -1].all()
    for part in ("base", "scale"):
        np.testing.assert_allclose(
            np.asarray(getattr(made, part))[counts], np.asarray(getattr(other, part))[counts], rtol=1e-4
        )


def _fill(values: np.ndarray, is_known: np.ndarray, by: float) -> np.ndarray:  # type: ignore[type-arg]
    """The windows with gaps filled by the value before, and by any number where the window begins with one."""
    filled = np.where(is_known > 0, values, np.nan)
    filled[:, 0] = np.where(np.isnan(filled[:, 0]), by, filled[:, 0])
    for t in range(1, filled.shape[1]):
        filled[:, t] = np.where(np.isnan(filled[:, t]), filled[:, t - 1], filled[:, t])
    return filled


@BOTH
def test_a_gap_in_the_last_season_is_the_season_before_it(config: GlobalLSTMConfig) -> None:
    values = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8, 9, 9, 11, 12]])  # the 10 of the last season is unknown: 9 fills it
    is_known = np.ones_like(values)
    is_known[0, 9] = 0
    window = keras.ops.convert_to_tensor(np.stack([values, is_known], axis=-1).astype(np.float32))

    made = make_steps(window, replace(config, base=4, size=8), 6)

    assert np.asarray(made.base)[0, -1].tolist() == [9, 6, 11, 12, 9, 6]


def test_a_position_counts_once_a_whole_season_is_known() -> None:
    values = np.arange(12.0)[None]
    is_known = (values >= 5).astype(float)
    window = keras.ops.convert_to_tensor(np.stack([values, is_known], axis=-1).astype(np.float32))

    made = make_steps(window, replace(FRAME, base=4, size=4), 2)

    assert np.asarray(made.weight)[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1]  # from the fourth known value on


def test_a_gated_base_is_the_season_of_a_seasonal_window_and_the_last_value_of_a_wandering_one() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([np.resize([0.0, 3, -1, 1], 40), np.cumsum(rng.normal(size=40)), np.arange(40.0)])
    window = keras.ops.convert_to_tensor(np.stack([values, np.ones_like(values)], axis=-1).astype(np.float32))
    config = replace(FRAME, size=8, base=4)

    gated, season, last = (
        np.asarray(make_steps(window, each, 4).base)[:, -1]
        for each in (replace(config, gated=True), config, replace(config, base=1))
    )

    share = np.abs(gated - last).sum(axis=1) / np.abs(season - last).sum(axis=1)
    assert share[0] > 0.999
    assert share[1] < 0.3
    # a straight line moves 4 in a season, and 1, 1, 2 and 3 in parts of one
    assert share[2] == pytest.approx(1 / (1 + (4 / 1.75) ** 4), rel=0.05)


def test_a_fold_has_whole_seasons_from_the_end_and_no_more() -> None:
    x = np.array([9.0, 1, 3, 4, 8])
    window = keras.ops.convert_to_tensor(np.stack([x, np.ones(5)], axis=-1)[None].astype(np.float32))

    made = make_steps(window, replace(FOLD, size=2, base=2, skip=3), 2)

    size = 2 * np.abs(np.diff(x)).mean() + 1e-3
    np.testing.assert_allclose(np.asarray(made.scale)[0, 0, 0], size, rtol=1e-6)
    np.testing.assert_allclose(np.asarray(made.steps)[0, :, :2], (np.array([[1, 3], [4, 8]]) - 5) / size, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(made.skip)[0, 0], (np.array([3, 4, 8]) - 5) / size, rtol=1e-5, atol=1e-7)
    assert np.asarray(made.base)[0].tolist() == [[4, 8]]


def test_features_of_a_frame_are_those_of_its_last_period_and_of_a_fold_all() -> None:
    features = np.arange(10.0).reshape(1, 5, 2)

    assert np.asarray(step_features(features, kind="frame", size=3))[0].tolist() == [[4, 5], [6, 7], [8, 9]]
    assert np.asarray(step_features(features, kind="fold", size=2))[0].tolist() == [[2, 3, 4, 5], [6, 7, 8, 9]]


def test_each_position_has_what_is_known_over_its_own_horizon() -> None:
    context, ahead = np.arange(4.0).reshape(1, 4, 1), np.array([[[10.0], [11.0]]])

    found = np.asarray(gather_ahead(context, ahead, 3))[0, :, :, 0]

    assert found.tolist() == [[2, 3], [3, 10], [10, 11]]


@BOTH
def test_what_is_known_ahead_of_one_step_moves_that_step_alone(config: GlobalLSTMConfig) -> None:
    trunk = trunk_of(GLOBAL, RICH, config=config)
    layer = trunk.get_layer("ahead_correction")
    layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    network = build_forecast_network(trunk)
    usual = windows_for(RICH)
    changed = {name: told.copy() for name, told in usual.items()}
    changed["ahead"][:, 1] += 1

    moved = np.abs(predict(network, changed) - predict(network, usual)).max(axis=(0, 2))

    assert moved[1] > 1e-3
    # not exactly nothing: threads may divide a product of matrices differently from one call to the next
    assert max(moved[0], moved[2]) < 1e-4


def test_a_folded_window_without_its_profile_is_given_it_back() -> None:
    day, week = np.array([0.0, 3.0, 1.0]), np.array([0.0, 5.0])
    x = np.tile(np.concatenate([day + level for level in week]), 4)[None]  # 2 seasons of 3
    window = keras.ops.convert_to_tensor(np.stack([x, np.ones_like(x)], axis=-1).astype(np.float32))

    made = make_steps(window, replace(FOLD, size=3, context=24, base=3, profile=6, skip=6), HORIZON)

    np.testing.assert_allclose(np.asarray(made.base)[0, 0], day, atol=1e-5)
    assert float(np.asarray(made.scale).max()) == pytest.approx(1e-3, abs=1e-5)


def test_a_network_repeats_each_step_of_its_context() -> None:
    """The echo check: five random digits are asked for again; at least 99 of 100 are right, at each position."""
    keras.utils.set_random_seed(0)
    digits = np.random.default_rng(0).integers(0, 10, (21_000, 5)).astype(np.float32)
    context = np.stack([digits, np.ones_like(digits)], axis=-1)
    config = replace(FOLD, size=1, context=5, skip=0)
    network = build_forecast_network(build_trunk(config, input_spec=InputSpec(horizon=5), units=64, levels=1))
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 3970, warmup_target=0.01, warmup_steps=30)
    network.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), "mse", jit_compile=False)

    network.fit({"context": context[:20_000]}, digits[:20_000, :, None], epochs=20, batch_size=100, verbose=0)

    told = predict(network, {"context": context[20_000:]})[:, :, 0].round()
    assert ((told == digits[20_000:]).mean(axis=0) >= 0.99).all()
