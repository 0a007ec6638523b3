"""The network that is written as ONNX from weights alone computes what Keras does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.config.architectures import GLOBAL
from pipeline.forecasting.forecaster import create_session
from pipeline.models.global_lstm import build_trunk
from pipeline.models.global_lstm_config import GlobalLSTMConfig
from pipeline.models.heads import average_networks, build_forecast_network
from pipeline.models.onnx_network import FittedMember, build_onnx_network
from pipeline.models.onnx_ops import OnnxGraph, OnnxTensor
from pipeline.models.pretrained import LSTM_WEIGHTS, OUTPUT_WEIGHTS, fit_weights, load_pretrained
from pipeline.models.specs import InputSpec
from pipeline.training.export import export_onnx, predict
from tests.support.networks import BARE, CONTEXT, FOLD, FRAME, HORIZON, single, trunk_of, windows_for

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

CONFIGS = {
    "frame": FRAME,
    "frame, season of 2": replace(FRAME, base=2),
    "frame, season of 4, not a divisor of the context": replace(FRAME, base=4, size=6, context=11),
    "frame, gated season of 4": replace(FRAME, base=4, size=6, gated=True),
    "frame that is a season, gated": replace(FRAME, base=4, size=4, context=15, gated=True),
    "frame that is the whole context": replace(FRAME, size=CONTEXT, base=4),
    "fold": FOLD,
    "fold without skip": replace(FOLD, skip=0),
    "fold of a season": replace(FOLD, base=4),
    "fold of more than one season": replace(FOLD, size=6, base=3, skip=3),
    "fold without its profile": replace(FOLD, base=4, profile=8),
    "fold without its profile, its base the last value": replace(FOLD, base=1, profile=6, context=11, skip=11),
}


def build_trunk_of(config: GlobalLSTMConfig, *, seed: int = 0, horizon: int = HORIZON) -> keras.Model:
    """A trunk at the origin whose weights are larger than at the start of a fit."""
    trunk = build_trunk(config, input_spec=InputSpec(horizon=horizon), units=5, levels=5, at_origin=True)
    rng = np.random.default_rng(seed)
    trunk.set_weights([rng.normal(scale=0.5, size=weight.shape) for weight in trunk.get_weights()])
    return trunk


def member_of(config: GlobalLSTMConfig, trunk: keras.Model) -> FittedMember:
    names = (*LSTM_WEIGHTS, *OUTPUT_WEIGHTS)
    weights = {name: weight.numpy() for weight in trunk.weights for name in names if weight.path.endswith(name)}
    return FittedMember(config=config, weights=weights)


def run(network: bytes, windows: dict[str, Array]) -> Array:
    return np.asarray(create_session(network).run(None, single(windows))[0], np.float64)


def windows_with_gaps(context: int = CONTEXT) -> dict[str, Array]:
    """Windows that are known, that begin later, and that lack values, by themselves or in a row."""
    windows = windows_for(count=8, context=context)
    is_known = windows["context"][..., 1]
    is_known[1, : context // 3] = 0
    is_known[2, : context - 2] = 0
    is_known[3, [context // 2, context - 2]] = 0
    is_known[4, 3 : context - 3] = 0
    is_known[5, ::2] = 0
    is_known[6, :] = 0
    is_known[:6, -1] = 1
    windows["context"][7, :, 0] = 2.5  # nothing changes in it
    return windows


def assert_close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("horizon", [1, HORIZON, 9])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_one_member_forecasts_what_keras_does(config: GlobalLSTMConfig, horizon: int) -> None:
    trunk = build_trunk_of(config, horizon=horizon)
    windows = windows_with_gaps(config.context)

    network = build_onnx_network([member_of(config, trunk)], horizon)

    forecast = run(network, windows)
    assert forecast.shape == (8, horizon, 5)
    assert_close(forecast, predict(build_forecast_network(trunk), windows))
    assert_close(run(network, {"context": windows["context"][:1]}), forecast[:1])


@pytest.mark.parametrize("shrinkage", [0.0, 0.6, 1.0])
def test_members_of_different_contexts_are_averaged_and_shrunk_as_by_keras(shrinkage: float) -> None:
    configs = [replace(FRAME, base=4), replace(FOLD, context=20), replace(FRAME, context=15)]
    trunks = [build_trunk_of(config, seed=seed) for seed, config in enumerate(configs)]
    keras_network = average_networks([build_forecast_network(trunk, shrinkage) for trunk in trunks], BARE)
    windows = windows_with_gaps(20)

    members = [member_of(config, trunk) for config, trunk in zip(configs, trunks, strict=True)]
    network = build_onnx_network(members, HORIZON, shrinkage=shrinkage)

    assert_close(run(network, windows), predict(keras_network, windows))


def test_weights_of_another_horizon_are_refused() -> None:
    member = member_of(FRAME, build_trunk_of(FRAME, horizon=6))

    with pytest.raises(ValueError, match="the weights forecast 6 steps, expected 3"):
        build_onnx_network([member], 3)


def test_equal_networks_are_equal_bytes() -> None:
    trunks = [build_trunk_of(config) for config in (FRAME, FOLD)]

    one, again = (
        build_onnx_network([member_of(config, trunk) for config, trunk in zip((FRAME, FOLD), trunks, strict=True)], 3)
        for _ in range(2)
    )
    other = build_onnx_network([member_of(FRAME, build_trunk_of(FRAME, seed=1))], 3)

    assert one == again
    assert other != build_onnx_network([member_of(FRAME, trunks[0])], 3)


@pytest.mark.parametrize("configs", [(FRAME,), (FRAME, FOLD)], ids=["one member", "two members"])
def test_inputs_and_outputs_are_called_as_in_the_export_of_keras(configs: tuple[GlobalLSTMConfig, ...]) -> None:
    trunks = [build_trunk_of(config) for config in configs]
    keras_network = average_networks([build_forecast_network(trunk) for trunk in trunks], BARE)

    exported = create_session(export_onnx(keras_network, windows_for()))
    members = [member_of(config, trunk) for config, trunk in zip(configs, trunks, strict=True)]
    direct = create_session(build_onnx_network(members, HORIZON))

    for ours, theirs in (
        (direct.get_inputs(), exported.get_inputs()),
        (direct.get_outputs(), exported.get_outputs()),
    ):
        assert [(value.name, value.shape, value.type) for value in ours] == [
            (value.name, value.shape, value.type) for value in theirs
        ]


WRITE_SHIPPED = """
import sys
from pathlib import Path
from pipeline.models.onnx_network import FittedMember, build_onnx_network
from pipeline.models.pretrained import cut_weights, load_pretrained
network = load_pretrained("season-12")
members = [
    FittedMember(config=config, weights=cut_weights(weights, trained_horizon=network.horizon, horizon=18))
    for config, weights in zip(network.configs, network.weights, strict=True)
]
Path(sys.argv[1]).write_bytes(build_onnx_network(members, 18))
print(sorted({"keras", "tensorflow", "tf2onnx"} & set(sys.modules)))
"""


def test_a_process_without_tensorflow_writes_a_shipped_network(tmp_path: Path) -> None:
    path, network = tmp_path / "network.onnx", load_pretrained("season-12")
    assert network is not None

    command = [sys.executable, "-c", WRITE_SHIPPED, str(path)]
    imported = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert imported == "[]\n"
    networks = []
    for config, weights in zip(network.configs, network.weights, strict=True):
        trunk = build_trunk(config, input_spec=InputSpec(horizon=18), units=config.units or 0, levels=5, at_origin=True)
        initial = [(weight.path, weight.numpy()) for weight in trunk.weights]
        trunk.set_weights(fit_weights(initial, weights, trained_horizon=network.horizon, horizon=18))
        networks.append(build_forecast_network(trunk))
    windows = windows_with_gaps(84)
    expected = predict(average_networks(networks, InputSpec(horizon=18)), windows)
    assert_close(run(path.read_bytes(), windows), expected)


def test_a_tensor_is_sliced_as_numpy_slices() -> None:
    values = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    keys = [
        np.s_[:, 1],
        np.s_[:, -1],
        np.s_[:, 1:3, -2:],
        np.s_[:, None, 2:],
        np.s_[:, -1, :, None],
        np.s_[..., 2:3],
        np.s_[:, :, 0],
    ]

    for key in keys:
        graph = OnnxGraph()
        x = OnnxTensor(graph, "x", (None, 4, 6))
        sliced = x[key]
        session = create_session(graph.build_model([x], sliced, "y").SerializeToString())

        np.testing.assert_array_equal(session.run(None, {"x": values})[0], values[key])
        assert sliced.shape == (None, *values[key].shape[1:])


def test_a_trunk_for_all_positions_has_the_same_weights() -> None:
    whole = trunk_of(GLOBAL, config=FRAME)

    network = build_onnx_network([member_of(FRAME, whole)], HORIZON)

    assert_close(run(network, windows_for()), predict(build_forecast_network(whole), windows_for()))
