"""Every architecture: shapes, seeds, saving and ONNX; and the gated cell against keras.layers.LSTM."""

from pathlib import Path
from typing import get_args

import keras
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import tensorflow as tf

from pipeline.architectures import ARCHITECTURES, build_network
from pipeline.errors import ModelRefused
from pipeline.models.gated_cell import GatedCell
from pipeline.models.sizes import Sizes
from pipeline.recipe import GLOBAL, Optimizer, Schedule
from pipeline.training import (
    Example,
    Fitted,
    Fitting,
    attention_of,
    average,
    export,
    fit_network,
    member_weights,
    predict,
    weights_of,
)

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

SIZES = Sizes(context=5, features=1, horizon=3, units=4, layers=2, dropout=0.1)
#: the global network has a battery of its own
PLAIN = [name for name in ARCHITECTURES if name != GLOBAL]
#: accuracy on fresh examples of the memory check
REMEMBERED = 0.99


def inputs(num_windows: int, sizes: Sizes = SIZES) -> Array:
    return np.random.default_rng(num_windows).normal(size=(num_windows, sizes.context, sizes.features))


def network_of(architecture: str, sizes: Sizes = SIZES, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(architecture, sizes)


def fitted(architecture: str, *, seed: int = 0, start: list[Array] | None = None, epochs: int = 1) -> Fitted:
    fitting = Fitting(epochs=epochs, batch_size=8, learning_rate=0.01, loss="mae", seed=seed, clip_norm=1.0)
    examples = Example(inputs=inputs(20), targets=inputs(20)[:, : SIZES.horizon, 0])
    return fit_network(architecture, SIZES, fitting, examples, start=start)


def assert_same_weights(one: keras.Model, other: keras.Model) -> None:
    for ours, theirs in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("architecture", PLAIN)
@pytest.mark.parametrize("sizes", [SIZES, Sizes(context=2, features=1, horizon=1, units=1)], ids=["usual", "smallest"])
def test_each_window_gives_one_number_a_step(architecture: str, sizes: Sizes) -> None:
    network = network_of(architecture, sizes)

    assert network.input_shape == (None, sizes.context, sizes.features)
    assert predict(network, inputs(7, sizes)).shape == (7, sizes.horizon)


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_network_reads_the_whole_context(architecture: str) -> None:
    network = network_of(architecture)
    one_step_changed = np.repeat(inputs(1), SIZES.context + 1, axis=0)
    one_step_changed[np.arange(SIZES.context), np.arange(SIZES.context)] += 1

    outputs = predict(network, one_step_changed)

    assert (np.abs(outputs[:-1] - outputs[-1]).max(axis=1) > 1e-5).all()


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_window_is_forecast_the_same_alone_and_among_others(architecture: str) -> None:
    network = network_of(architecture)

    together = predict(network, inputs(6))

    np.testing.assert_allclose(predict(network, inputs(6)[4:5]), together[4:5], atol=1e-6)


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_saved_network_predicts_the_same(architecture: str, tmp_path: Path) -> None:
    network = network_of(architecture)

    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")

    np.testing.assert_array_equal(predict(loaded, inputs(6)), predict(network, inputs(6)))


@pytest.mark.parametrize("architecture", PLAIN)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(architecture: str) -> None:
    first = fitted(architecture)

    again, other = fitted(architecture), network_of(architecture, seed=1)

    assert_same_weights(first.network, again.network)
    assert first.loss == again.loss
    assert not np.array_equal(network_of(architecture).get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("architecture", PLAIN)
def test_the_exported_network_computes_what_keras_does_for_any_number_of_windows(architecture: str) -> None:
    network = network_of(architecture)

    onnx_network, archive = export(network, inputs(4))

    session = onnxruntime.InferenceSession(onnx_network, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for num_windows in (1, 4, 9):
        outputs = session.run(None, {name: inputs(num_windows).astype(np.float32)})[0]
        np.testing.assert_allclose(outputs, predict(network, inputs(num_windows)), rtol=0, atol=1e-5)
    assert archive.startswith(b"PK")


@pytest.mark.parametrize("architecture", PLAIN)
def test_a_network_learns_a_sine(architecture: str) -> None:
    sizes = Sizes(context=12, features=1, horizon=3, units=16)
    wave = np.sin(np.arange(400) * 2 * np.pi / 12.7)
    windows = np.lib.stride_tricks.sliding_window_view(wave, 15)
    fitting = Fitting(epochs=30, batch_size=32, learning_rate=0.01, loss="mse", seed=0, clip_norm=1.0)

    network = fit_network(
        architecture, sizes, fitting, Example(inputs=windows[:300, :12, None], targets=windows[:300, 12:])
    ).network

    error = predict(network, windows[315:, :12, None]) - windows[315:, 12:]
    naive = windows[315:, 11:12] - windows[315:, 12:]
    assert np.abs(error).mean() < 0.1 * np.abs(naive).mean()


@pytest.mark.parametrize("position", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))])
@pytest.mark.parametrize("architecture", PLAIN)
def test_a_network_remembers_each_step(architecture: str, position: int) -> None:
    """The echo check: of five random digits the one at a position is asked for; at least 99 of 100 are right."""
    sizes = Sizes(context=5, features=10, horizon=10, units=25)
    digits = np.random.default_rng(position).integers(0, 10, (10_100, 5))
    one_hot = np.eye(10)[digits]
    fitting = Fitting(
        epochs=10, batch_size=100, learning_rate=0.01, loss="mse", seed=0, clip_norm=1.0, schedule="cosine"
    )
    asked_for = one_hot[:, position]

    network = fit_network(
        architecture, sizes, fitting, Example(inputs=one_hot[:10_000], targets=asked_for[:10_000])
    ).network

    answers = predict(network, one_hot[10_000:]).argmax(axis=1)
    assert (answers == digits[10_000:, position]).mean() >= REMEMBERED


def test_attention_gives_each_step_a_weight_and_all_of_them_make_one() -> None:
    network = network_of("attention")

    weights = attention_of(network, inputs(7))

    assert weights is not None
    assert weights.shape == (7, SIZES.context)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert attention_of(network_of("vanilla"), inputs(7)) is None


def test_the_decoder_goes_on_from_the_encoder_and_is_given_its_own_last_output() -> None:
    network = network_of("encoder-decoder")
    encoder = next(layer for layer in network.layers if isinstance(layer, keras.layers.LSTM))
    decoder, target = network.get_layer("decoder"), network.get_layer("target")
    x = tf.constant(inputs(2), tf.float32)

    _, *states = encoder(x)
    value, outputs = x[:, -1, :1], []
    for _ in range(SIZES.horizon):
        output, states = decoder(value, states)
        value = target(output)
        outputs.append(value)

    np.testing.assert_allclose(predict(network, inputs(2)), np.concatenate(outputs, axis=1), atol=1e-6)


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_optimizer_lowers_the_loss(optimizer: str, schedule: str) -> None:
    fitting = Fitting(
        epochs=30, batch_size=8, learning_rate=0.01, loss="mae", seed=0, optimizer=optimizer, schedule=schedule
    )
    loss = fit_network(
        "vanilla", SIZES, fitting, Example(inputs=inputs(20), targets=inputs(20)[:, : SIZES.horizon, 0])
    ).loss

    assert loss[-1] < loss[0]


@pytest.mark.parametrize(("clipped", "most"), [({"clip_value": 0.01}, 0.01), ({"clip_norm": 0.001}, 0.001), ({}, None)])
def test_gradients_are_clipped_by_value_or_by_norm(clipped: dict[str, float], most: float | None) -> None:
    start = network_of("vanilla").get_weights()
    fitting = Fitting(epochs=1, batch_size=20, learning_rate=1.0, loss="mse", seed=0, optimizer="sgd", **clipped)

    moved = fit_network(
        "vanilla", SIZES, fitting, Example(inputs=inputs(20), targets=100 * np.ones((20, 3))), start=start
    ).network.get_weights()

    steps = np.concatenate([(after - before).ravel() for after, before in zip(moved, start, strict=True)])
    size = np.abs(steps).max() if "clip_value" in clipped else np.linalg.norm(steps)
    assert size > 1 if most is None else size == pytest.approx(most, rel=1e-3)


def gated_and_keras_lstm(sizes: Sizes) -> tuple[keras.Model, keras.Model]:
    """The gated cell and keras.layers.LSTM with the same weights, none of them zero."""
    gated, lstm = network_of("gated-cell", sizes), network_of("vanilla", sizes)
    rng = np.random.default_rng(0)
    weights = [rng.normal(scale=0.5, size=weight.shape) for weight in lstm.get_weights()]
    gated.set_weights(weights)
    lstm.set_weights(weights)
    return gated, lstm


@pytest.mark.parametrize("sizes", [SIZES, Sizes(context=12, features=3, horizon=2, units=5)], ids=["usual", "features"])
def test_the_gated_cell_computes_what_keras_lstm_does(sizes: Sizes) -> None:
    gated, lstm = gated_and_keras_lstm(sizes)

    np.testing.assert_allclose(predict(gated, inputs(8, sizes)), predict(lstm, inputs(8, sizes)), rtol=0, atol=1e-5)


def test_the_gated_cell_has_the_gradients_of_keras_lstm() -> None:
    context = tf.constant(inputs(8), tf.float32)
    gradients = []

    for network in gated_and_keras_lstm(SIZES):
        with tf.GradientTape() as tape:
            tape.watch(context)
            loss = tf.reduce_sum(network(context, training=False) ** 2)
        variables = [variable.value for variable in network.trainable_variables]
        gradients.append(tape.gradient(loss, [context, *variables]))

    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_gated_cell_computes_its_equations() -> None:
    network = keras.Sequential([keras.Input((3, 2)), keras.layers.RNN(GatedCell(2))])
    rng = np.random.default_rng(3)
    W, U, b = (rng.normal(size=shape) for shape in ((2, 8), (2, 8), (8,)))
    network.set_weights([W, U, b])
    x = rng.normal(size=(3, 2))

    def sigma(z: Array) -> Array:
        return 1 / (1 + np.exp(-z))

    h, c = np.zeros(2), np.zeros(2)
    for t in range(3):
        i, f, g, o = (x[t] @ W[:, k : k + 2] + h @ U[:, k : k + 2] + b[k : k + 2] for k in (0, 2, 4, 6))
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)

    np.testing.assert_allclose(predict(network, x[None])[0], h, atol=1e-6)


def test_the_gated_cell_starts_with_its_forget_gate_open() -> None:
    bias = network_of("gated-cell").get_weights()[2]

    assert bias.tolist() == [0] * 4 + [1] * 4 + [0] * 8
    assert bias.tolist() == network_of("vanilla").get_weights()[2].tolist()


@pytest.mark.parametrize("layers", [1, 3])
def test_a_stacked_network_has_as_many_layers_as_asked_for(layers: int) -> None:
    network = network_of("stacked", Sizes(context=3, features=1, horizon=1, units=2, layers=layers, dropout=0.2))

    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["InputLayer", *["LSTM", "Dropout"] * layers, "Dense"]


def test_an_ensemble_of_one_is_the_network_itself() -> None:
    network = network_of("vanilla")

    assert average([network]) is network


def test_an_ensemble_gives_the_mean_of_its_members_in_keras_and_in_onnx() -> None:
    members = [network_of("vanilla", seed=seed) for seed in (0, 1)]

    mean = average(members)

    expected = (predict(members[0], inputs(4)) + predict(members[1], inputs(4))) / 2
    np.testing.assert_allclose(predict(mean, inputs(4)), expected, atol=1e-6)
    session = onnxruntime.InferenceSession(export(mean, inputs(4))[0], providers=["CPUExecutionProvider"])
    outputs = session.run(None, {session.get_inputs()[0].name: inputs(4).astype(np.float32)})[0]
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


def test_written_weights_come_back_member_by_member() -> None:
    members = [network_of("stacked", seed=seed) for seed in range(11)]

    read = member_weights(weights_of(members))

    for network, weights in zip(members, read, strict=True):
        for ours, theirs in zip(network.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert weights_of(members) == weights_of(members)


def test_fitting_goes_on_from_the_weights_that_it_is_given() -> None:
    first = fitted("vanilla", epochs=20)

    further = fitted("vanilla", start=first.network.get_weights())

    assert further.loss[0] < first.loss[5]


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss() -> None:
    network = network_of("vanilla")

    assert Fitted(network=network, loss=(3, 2, 1), validation_loss=(3, 1, 2)).best_epoch == 2
    assert Fitted(network=network, loss=(3, 2, 1), validation_loss=()).best_epoch == 3


def test_fitting_tells_each_epoch_and_stops_when_the_held_out_windows_gain_no_more() -> None:
    told = []
    fitting = Fitting(epochs=50, batch_size=8, learning_rate=0.1, loss="mae", seed=0, patience=2)
    examples = Example(inputs=inputs(20), targets=np.ones((20, 3)))
    held_out = Example(inputs=inputs(20), targets=-np.ones((20, 3)))

    stopped = fit_network(
        "vanilla", SIZES, fitting, examples, held_out=held_out, on_epoch=lambda *epoch: told.append(epoch)
    )

    assert len(stopped.loss) == stopped.best_epoch + 2 < 50
    assert told == [(epoch, 50, loss) for epoch, loss in enumerate(stopped.loss, start=1)]


def test_a_fit_that_does_not_stay_finite_is_refused() -> None:
    fitting = Fitting(epochs=1, batch_size=8, learning_rate=0.01, loss="mse", seed=0)

    with pytest.raises(ModelRefused, match="epoch 1 is not finite: lower training.learning_rate"):
        fit_network("vanilla", SIZES, fitting, Example(inputs=inputs(9), targets=np.full((9, 3), 1e30)))
