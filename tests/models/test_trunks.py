"""One battery over all architectures between scale and head: shapes, padding, features, saving, ONNX, seeds, a sine."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from pipeline.config.architectures import ARCHITECTURES, GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import average_networks, build_forecast_network
from pipeline.models.losses import LEVEL_WEIGHTS, sum_losses
from pipeline.models.specs import InputSpec
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel
from pipeline.training.ensemble import FitPlan, fit_ensemble
from pipeline.training.export import export_archive, export_onnx, predict
from pipeline.training.model_files import pack_weights, unpack_weights
from tests.support.networks import BARE, CONTEXT, FOLD, FRAME, HORIZON, RICH, first, single, trunk_of, windows_for
from tests.support.recipes import build_recipe

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

EACH = pytest.mark.parametrize("architecture", ARCHITECTURES)
BOTH_INPUTS = pytest.mark.parametrize("input_spec", [BARE, RICH], ids=["values alone", "with features"])


@EACH
@BOTH_INPUTS
def test_each_window_gives_quantiles_of_each_step_that_do_not_cross(architecture: str, input_spec: InputSpec) -> None:
    outputs = predict(build_forecast_network(trunk_of(architecture, input_spec)), windows_for(input_spec, 50))

    assert outputs.shape == (50, HORIZON, len(LEVELS))
    assert (np.diff(outputs, axis=-1) >= 0).all()
    assert (np.diff(outputs, axis=-1) > 0).any()


@EACH
@BOTH_INPUTS
def test_a_network_is_built_in_a_fresh_process_too(architecture: str, input_spec: InputSpec) -> None:
    """Where Keras has not given any name yet."""
    keras.utils.clear_session()

    assert predict(build_forecast_network(trunk_of(architecture, input_spec)), windows_for(input_spec)).shape == (
        7,
        HORIZON,
        len(LEVELS),
    )


@EACH
def test_a_point_loss_has_one_number_a_step(architecture: str) -> None:
    outputs = predict(build_forecast_network(trunk_of(architecture, levels=1)), windows_for())

    assert outputs.shape == (7, HORIZON, 1)


@EACH
@BOTH_INPUTS
def test_everything_that_is_given_is_read(architecture: str, input_spec: InputSpec) -> None:
    network = build_forecast_network(trunk_of(architecture, input_spec))
    usual = windows_for(input_spec, 1)
    if architecture != GLOBAL or input_spec.ahead:
        for layer in network.layers:
            if layer.name == "ahead_correction":
                layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    told = predict(network, usual)

    for name, values in usual.items():
        for place in np.ndindex(*values.shape[1:]):
            if name == "context" and place[1] == 1:
                continue
            changed = {key: one.copy() for key, one in usual.items()}
            changed[name][0][place] += 0.5
            frame_features = name == "context" and place[1] > 1 and place[0] < FRAME.size - 1
            if architecture == GLOBAL and frame_features:
                continue  # a frame has the features of its last period
            assert np.abs(predict_one(network, changed) - told).max() > 1e-7, (name, place)


def predict_one(network: keras.Model, windows: dict[str, Array]) -> Array:
    return np.asarray(network(single(windows), training=False), np.float64)


@EACH
def test_what_lies_before_the_first_known_value_is_not_read(architecture: str) -> None:
    network = build_forecast_network(trunk_of(architecture, scaling="standard", lag=0))
    padded = windows_for(RICH and BARE, 5)
    padded["context"][:, :4, 1] = 0
    padded["context"][:, :4, 0] = padded["context"][:, 4:5, 0]  # as it comes
    other = {"context": padded["context"].copy()}
    if architecture != GLOBAL:
        other["context"][:, :4, 0] = 1e6

    told = predict(network, padded)

    assert np.isfinite(told).all()
    np.testing.assert_allclose(predict(network, other), told, rtol=1e-6)
    known = {"context": padded["context"].copy()}
    known["context"][:, :4, 1] = 1
    assert architecture == GLOBAL or np.abs(predict(network, known) - told).max() > 1e-6


@EACH
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_a_forecast_moves_and_grows_with_its_window(architecture: str, size: float) -> None:
    network = build_forecast_network(trunk_of(architecture))
    usual = windows_for()
    moved = {"context": usual["context"] * [size, 1] + [100 * size, 0]}

    told, expected = predict(network, moved), (predict(network, usual) + 100) * size

    if architecture != GLOBAL:  # whose network also reads how volatile the window is
        np.testing.assert_allclose(told, expected, rtol=1e-4)
    assert np.isfinite(told).all()


@EACH
@BOTH_INPUTS
def test_a_saved_network_predicts_the_same(architecture: str, input_spec: InputSpec, tmp_path: Path) -> None:
    network = build_forecast_network(trunk_of(architecture, input_spec))

    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")

    # single precision: a number near zero is the difference of numbers of size one
    np.testing.assert_allclose(
        predict(loaded, windows_for(input_spec)), predict(network, windows_for(input_spec)), rtol=1e-6, atol=1e-6
    )


@EACH
@BOTH_INPUTS
def test_the_exported_network_computes_what_keras_does_for_any_number_of_windows(
    architecture: str, input_spec: InputSpec
) -> None:
    network = average_networks(
        [build_forecast_network(trunk_of(architecture, input_spec, seed=seed), 0.5) for seed in (0, 1)], input_spec
    )
    windows = windows_for(input_spec, 9)

    onnx_network, archive = export_onnx(network, first(windows, 4)), export_archive(network)

    session = onnxruntime.InferenceSession(onnx_network, providers=["CPUExecutionProvider"])
    for count in (1, 9):
        outputs = session.run(None, single(first(windows, count)))[0]
        np.testing.assert_allclose(outputs, predict(network, first(windows, count)), rtol=0, atol=1e-5)
    assert archive.startswith(b"PK")


def test_members_of_different_contexts_are_averaged_each_over_its_own() -> None:
    members = [build_forecast_network(trunk_of(GLOBAL, config=config)) for config in (FRAME, FOLD)]
    longer = build_forecast_network(trunk_of(GLOBAL, seed=1))
    mean = average_networks([*members, longer], BARE)
    windows = windows_for()

    expected = np.mean([predict(network, windows) for network in (*members, longer)], axis=0)

    np.testing.assert_allclose(predict(mean, windows), expected, atol=1e-6)
    assert average_networks(members[:1], BARE) is members[0]


def test_of_a_correction_that_is_not_trusted_the_base_stays() -> None:
    trunk = trunk_of("vanilla")
    whole, half, none = (predict(build_forecast_network(trunk, trust), windows_for()) for trust in (1.0, 0.5, 0.0))

    last = windows_for()["context"][:, -1, 0]
    np.testing.assert_allclose(none[:, :, 2], np.repeat(last[:, None], HORIZON, axis=1), atol=1e-5)
    np.testing.assert_allclose(half[:, :, 2], (whole + none)[:, :, 2] / 2, atol=1e-5)
    np.testing.assert_allclose(np.diff(half, axis=2), np.diff(whole, axis=2), atol=1e-5)


def test_written_weights_come_back_member_by_member() -> None:
    members = [trunk_of("stacked", seed=seed).get_weights() for seed in range(11)]

    read = unpack_weights(pack_weights(members))

    for written, weights in zip(members, read, strict=True):
        for ours, theirs in zip(written, weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert pack_weights(members) == pack_weights(members)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "pinball"])
@pytest.mark.parametrize("weighting", ["relative", "scaled", "between", "half"])
@pytest.mark.parametrize("config", [FRAME, FOLD], ids=["frame", "fold"])
def test_a_loss_is_what_a_loop_computes(loss: str, weighting: str, config: object) -> None:
    levels = LEVELS if loss == "pinball" else (0.5,)
    trunk = trunk_of(GLOBAL, config=config, levels=len(levels))  # type: ignore[arg-type]
    windows = windows_for(InputSpec(horizon=HORIZON), 3, context=CONTEXT)
    walk = np.random.default_rng(1).normal(size=(3, HORIZON)).cumsum(axis=1)
    later = np.stack([walk, np.ones_like(walk)], axis=-1)
    windows["context"][0, :3, 1] = 0
    later[1, 1, 1] = 0

    for training in (True, False):
        inputs = {**single(windows), "later": later.astype(np.float32)}
        total, count = sum_losses(
            trunk, inputs, np.ones(3, np.float32), loss=loss, weighting=weighting, training=training
        )

        parts = [np.asarray(part, np.float64) for part in trunk(single(windows))]
        values = np.concatenate([windows["context"], later], axis=1)
        expected = loop(loss, weighting, levels, parts, values, judged=not training)
        np.testing.assert_allclose(total / count, expected, rtol=1e-4)


def loop(
    loss: str, weighting: str, levels: tuple[float, ...], parts: list[Array], values: Array, *, judged: bool
) -> float:
    scaled, base, scale, weight = parts
    total = count = 0.0
    for b, t, h in np.ndindex(base.shape):
        if judged and t < base.shape[1] - 1:
            continue
        place = CONTEXT - base.shape[1] + t + 1 + h
        counted, s = values[b, place, 1] * weight[b, t], scale[b, t, 0]
        errors = [(values[b, place, 0] - base[b, t, h]) / s - scaled[b, t, h, q] for q in range(len(levels))]
        size = abs(errors[0])
        each = {
            "mse": errors[0] ** 2,
            "mae": size,
            "huber": 0.5 * errors[0] ** 2 if size < 1 else size - 0.5,
            "pinball": sum(
                2 * w * max(q * e, (q - 1) * e) for w, q, e in zip(LEVEL_WEIGHTS, levels, errors, strict=False)
            ),
        }[loss]
        factor = {"relative": s, "scaled": 1.0, "between": np.sqrt(s), "half": 0.5 * (s / 0.1 + 1)}[weighting]
        total += counted * factor * each
        count += counted
    return total / count


def recipe_for(architecture: str) -> Recipe:
    if architecture == GLOBAL:
        model, training = {}, {"members": 1}
    else:
        model, training = {"context": 12, "scaling": "last"}, {"epochs": 20, "learning_rate": 0.01}
    return build_recipe(
        "wave",
        frequency="D",
        season_length=1,
        source={"period": "day", "value": "height"},
        model={"architecture": architecture, "units": 16, **model},
        training=training,
    )


def waves(length: int = 330) -> Panel:
    wave = 3 + np.sin(np.arange(length) * 2 * np.pi / 12.7)
    return Panel(
        series=("wave",),
        grid=np.datetime64("2020-01-01", "us") + np.arange(length) * np.timedelta64(1, "D"),
        first=np.zeros(1, np.int64),
        offsets=np.array([0, length]),
        values=wave,
    )


@EACH
def test_a_network_learns_a_sine_and_the_same_seed_the_same(architecture: str) -> None:
    panel, recipe = waves(), recipe_for(architecture)
    fitted_on = panel.until(299)
    members = [
        member.for_epochs(min(member.settings.epochs, 20)) for member in FitPlan(recipe=recipe).members(fitted_on)
    ]

    ensemble, again = (fit_ensemble(fitted_on, recipe, members, on_epoch=None) for _ in range(2))

    ends = np.arange(300, 326)
    windows = Windows(np.zeros_like(ends), ends)
    inputs = ensemble.prepare_inputs(panel, windows)
    told = ensemble.quantiles(ensemble.build_network(), inputs)
    target = panel.values[ends[:, None] + np.arange(1, 4)]
    naive = np.abs(target - panel.values[ends][:, None]).mean()
    assert np.abs(told[:, :, told.shape[2] // 2] - target).mean() < 0.1 * naive
    for one, other in zip(ensemble.fitted[0].trunk.get_weights(), again.fitted[0].trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # threads add the losses of a batch in any order here; the process that trains fixes the order
    np.testing.assert_allclose(ensemble.fitted[0].loss, again.fitted[0].loss, rtol=1e-6)


@EACH
@pytest.mark.parametrize("config", [FRAME, FOLD], ids=["frame", "fold"])
def test_what_is_known_ahead_of_a_step_changes_that_step_alone(architecture: str, config: GlobalLSTMConfig) -> None:
    """A step whose covariates are not known can be replaced: the others are what they would have been."""
    network = build_forecast_network(trunk_of(architecture, RICH, config=config))
    for layer in network.layers:
        if layer.name == "ahead_correction":
            layer.set_weights([np.ones_like(weight) for weight in layer.get_weights()])
    usual = windows_for(RICH, 5)
    forecast = predict(network, usual)

    for step in range(HORIZON):
        changed = {name: values.copy() for name, values in usual.items()}
        changed["ahead"][:, step] += 1
        differs = (np.abs(predict(network, changed) - forecast) > 1e-3).any(axis=(0, 2))
        assert differs.tolist() == [h == step for h in range(HORIZON)]
