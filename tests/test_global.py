"""The global network: what its windows hold, that its loss and quantiles are what they say, and the battery of all networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from pipeline.design import Design
from pipeline.errors import ModelRefused
from pipeline.forecast import LEVELS
from pipeline.global_training import Pinball, Windows, draw_windows, fit_member, gathered
from pipeline.models.global_lstm import forecasting, mean_of, trunk
from pipeline.training import export, predict
from pipeline.units import Flat

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]
HORIZON = 3


def design(kind: str = "frame", **changes: Any) -> Design:
    usual: dict[str, Any] = {
        "kind": kind,
        "size": 4,
        "context": 12,
        "base": 1,
        "skip": 8 if kind == "fold" else 0,
        "weighting": "between",
        "draw": "series",
        "steps": 50,
        "batch_size": 16,
        "learning_rate": 0.01,
    }
    return Design(**usual | changes)


def flat_of(*series: Array) -> Flat:
    values = np.concatenate(series)
    known = ~np.isnan(values)
    return Flat(
        values=np.nan_to_num(values).astype(np.float32),
        known=known.astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in series])]),
    )


def contexts(count: int, length: int = 12, seed: int = 0) -> Array:
    walk = np.random.default_rng(seed).normal(size=(count, length)).cumsum(axis=1)
    return np.stack([walk, np.ones_like(walk)], axis=-1)


def network_of(made: Design, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return forecasting(trunk(made, horizon=HORIZON, units=4, num_levels=len(LEVELS)))


BOTH = pytest.mark.parametrize("kind", ["fold", "frame"])


@BOTH
def test_each_window_gives_quantiles_that_do_not_cross(kind: str) -> None:
    outputs = predict(network_of(design(kind)), contexts(50))

    assert outputs.shape == (50, HORIZON, len(LEVELS))
    assert (np.diff(outputs, axis=-1) >= 0).all()


@BOTH
@pytest.mark.parametrize("size", [1.0, 1e-6, 1e6])
def test_a_forecast_moves_with_the_level_of_its_window(kind: str, size: float) -> None:
    network = network_of(design(kind))
    context = contexts(5)
    moved = context + np.array([100.0, 0.0])

    np.testing.assert_allclose(predict(network, moved) - 100, predict(network, context), atol=1e-3)


@BOTH
def test_what_is_not_known_is_not_read(kind: str) -> None:
    """Two windows that differ only before their first known value: filled by it, as they come."""
    network = network_of(design(kind))
    short = contexts(5)
    short[:, :4] = short[:, 4:5]
    short[:, :4, 1] = 0

    outputs = predict(network, short)

    assert np.isfinite(outputs).all()
    known = short.copy()
    known[:, :4, 1] = 1
    told = predict(network, known)
    assert (np.abs(told - outputs).max() > 1e-6) == (kind == "fold")  # only a fold tells the two apart


@BOTH
def test_a_saved_network_predicts_the_same_and_so_does_onnx(kind: str, tmp_path: Path) -> None:
    profile = {"profile": 8, "base": 4} if kind == "fold" else {}
    network = mean_of([network_of(design(kind)), network_of(design(kind, context=16, **profile), seed=1)])
    inputs = contexts(6, length=16)

    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    session = onnxruntime.InferenceSession(export(network, inputs)[0], providers=["CPUExecutionProvider"])

    np.testing.assert_array_equal(predict(loaded, inputs), predict(network, inputs))
    for count in (1, 6):
        outputs = session.run(None, {session.get_inputs()[0].name: inputs[:count].astype(np.float32)})[0]
        np.testing.assert_allclose(outputs, predict(network, inputs[:count]), rtol=0, atol=1e-5)


@BOTH
def test_the_base_is_the_last_season(kind: str) -> None:
    made = design(kind, base=2)
    scaled, base, scale, _ = trunk(made, horizon=HORIZON, units=4, num_levels=3)(contexts(2).astype(np.float32))

    last = contexts(2)[:, -2:, 0]
    np.testing.assert_allclose(np.asarray(base)[:, -1], last[:, [0, 1, 0]], rtol=1e-6)
    assert scaled.shape[1:] == (base.shape[1], HORIZON, 3)
    assert (np.asarray(scale) > 0).all()


def test_a_folded_window_without_its_profile_is_given_it_back() -> None:
    day, week = np.array([0.0, 3.0, 1.0]), np.array([0.0, 5.0])
    x = np.tile(np.concatenate([day + level for level in week]), 4)[None]  # 2 seasons of 3
    made = design("fold", size=3, context=24, base=3, profile=6, skip=6)

    window = np.stack([x, np.ones_like(x)], axis=-1).astype(np.float32)
    scaled, base, scale, _ = trunk(made, horizon=HORIZON, units=4, num_levels=3)(window)

    np.testing.assert_allclose(np.asarray(base)[0, 0], day, atol=1e-5)
    assert float(np.asarray(scale).max()) == pytest.approx(1e-3, abs=1e-5)
    assert np.isfinite(np.asarray(scaled)).all()


@BOTH
def test_gathered_windows_hold_the_series_before_and_after_their_end(kind: str) -> None:
    del kind
    one, other = np.arange(10.0), np.arange(100.0, 120.0)
    other[5] = np.nan
    windows = Windows(np.array([0, 1, 1]), np.array([2, 6, 20 - HORIZON]))

    ((found, _),) = gathered(flat_of(one, other), windows, width=4 + HORIZON, ahead=HORIZON, batch_size=8)

    values, known = np.asarray(found)[..., 0], np.asarray(found)[..., 1]
    np.testing.assert_array_equal(values[0], [0, 0, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(known[0], [0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(known[1], [1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(values[2], np.arange(113.0, 120.0))


@BOTH
@pytest.mark.parametrize("draw", ["series", "windows"])
def test_drawn_windows_have_their_target_and_enough_before_it(kind: str, draw: str) -> None:
    made = design(kind, draw=draw, steps=200)
    lengths = np.array([1, 6, 9, 200, 4])
    flat = flat_of(*(np.arange(float(length)) for length in lengths))

    windows = draw_windows(flat, made, horizon=HORIZON, seed=0)

    assert len(windows.series) == 200 * 16
    assert (windows.end >= made.least_known).all()
    assert (windows.end + HORIZON <= lengths[windows.series]).all()
    usable = lengths >= made.least_known + HORIZON
    assert set(windows.series.tolist()) == set(np.flatnonzero(usable).tolist())
    share = np.bincount(windows.series, minlength=5) / len(windows.series)
    assert share[3] > 0.9 if draw == "windows" else share[3] < 0.6


def test_no_series_that_is_long_enough_is_an_error() -> None:
    with pytest.raises(ValueError, match="no series is long enough"):
        draw_windows(flat_of(np.arange(4.0)), design(), horizon=HORIZON, seed=0)


@BOTH
@pytest.mark.parametrize("weighting", ["relative", "scaled", "between"])
def test_the_loss_is_the_pinball_loss_of_a_loop(kind: str, weighting: str) -> None:
    made = design(kind, weighting=weighting)
    network = trunk(made, horizon=HORIZON, units=4, num_levels=len(LEVELS))
    windows = contexts(3, length=12 + HORIZON).astype(np.float32)
    windows[0, :3, 1] = 0
    windows[1, 13, 1] = 0

    loss = np.asarray(Pinball(network, made, HORIZON)(windows))

    scaled, base, scale, weight = (np.asarray(part, np.float64) for part in network(windows[:, :12]))
    total = count = 0.0
    for b in range(3):
        for t in range(scaled.shape[1]):
            for h in range(HORIZON):
                place = 12 - scaled.shape[1] + t + 1 + h
                counted = float(windows[b, place, 1]) * weight[b, t]
                s = scale[b, t, 0]
                usual = 0.5 * (s / 0.1 + 1) if kind == "frame" else np.sqrt(s)
                factor = {"relative": s, "scaled": 1.0, "between": usual}[weighting]
                for q, level in enumerate(LEVELS):
                    error = (windows[b, place, 0] - base[b, t, h]) / s - scaled[b, t, h, q]
                    share = 0.5 if level == 0.5 else 0.5 / (len(LEVELS) - 1)
                    total += counted * factor * 2 * share * max(level * error, (level - 1) * error)
                count += counted
    np.testing.assert_allclose(loss, total / count, rtol=1e-5)


@BOTH
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(kind: str) -> None:
    flat = flat_of(*(np.random.default_rng(n).normal(size=60).cumsum() for n in range(5)))
    first, again, other = (
        fit_member(flat, design(kind), horizon=HORIZON, units=4, seed=seed)[0].get_weights() for seed in (0, 0, 1)
    )

    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[0], other[0])


@BOTH
def test_it_learns_a_season_that_its_base_does_not_know(kind: str) -> None:
    waves = [np.sin(2 * np.pi * np.arange(200) / 4 + n) for n in range(10)]
    flat = flat_of(*(wave[:190] for wave in waves))

    told = []
    made, losses = fit_member(
        flat,
        design(kind, steps=300),
        horizon=HORIZON,
        units=16,
        seed=0,
        on_epoch=lambda *call: told.append(call),
    )

    ahead = np.array([wave[190:193] for wave in waves])
    context = np.stack([np.stack([wave[178:190], np.ones(12)], -1) for wave in waves])
    error = np.abs(predict(forecasting(made), context)[:, :, 2] - ahead).mean()
    assert error < 0.1 * np.abs(context[:, -1:, 0] - ahead).mean()
    assert [call[:2] for call in told] == [(n + 1, 12) for n in range(12)]
    assert losses == tuple(call[2] for call in told)


def test_a_fit_that_does_not_stay_finite_is_refused() -> None:
    flat = flat_of(np.random.default_rng(0).normal(size=60))

    with pytest.raises(ModelRefused, match="not finite"):
        fit_member(flat, design(learning_rate=1e38), horizon=HORIZON, units=4, seed=0)
