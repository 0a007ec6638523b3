"""What is inside each architecture, how it is fitted, and the gated cell against keras.layers.LSTM."""

from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from pipeline.config.architectures import ARCHITECTURES, GLOBAL
from pipeline.config.recipe import Optimizer, Schedule
from pipeline.errors import ModelRefused
from pipeline.models.gated_cell import GatedCell
from pipeline.models.network_builder import build_network
from pipeline.models.specs import NetworkSpec
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.scaling import fit_scaling
from pipeline.preprocessing.windows import ContextRequirements, Windows, find_windows
from pipeline.timeseries.panel import Panel
from pipeline.training.export import attention_weights, predict
from pipeline.training.fit_network import FitSettings, FittedNetwork, fit_network
from pipeline.training.window_batches import FlatPanel, flatten_panel
from tests.support.networks import CONTEXT, HORIZON, trunk_of, windows_for

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float64]

SIZES = NetworkSpec(context=5, features=1, horizon=3, units=4, layers=2, dropout=0.1)
#: the global network has a battery of its own
PLAIN = [name for name in ARCHITECTURES if name != GLOBAL]
#: accuracy on fresh examples of the memory check
REMEMBERED = 0.99


def inputs(num_windows: int, sizes: NetworkSpec = SIZES) -> Array:
    return np.random.default_rng(num_windows).normal(size=(num_windows, sizes.context, sizes.features))


def network_of(architecture: str, sizes: NetworkSpec = SIZES, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_network(architecture, sizes)


def flat_of(values: Array) -> FlatPanel:
    panel = Panel(
        series=("a",),
        grid=np.datetime64("2020-01-01", "us") + np.arange(len(values)) * np.timedelta64(1, "D"),
        first=np.zeros(1, np.int64),
        offsets=np.array([0, len(values)]),
        values=values,
    )
    none = FeatureArrays(
        past=np.empty((len(values), 0), np.float32),
        future=np.empty((len(values), 0), np.float32),
        calendar=np.empty((len(values) + HORIZON, 0), np.float32),
        static=np.empty((1, 0), np.float32),
    )
    return flatten_panel(panel, fit_scaling(panel, kind="last", per_series=False, season=1), none)


def walk(seed: int = 0, length: int = 40) -> Array:
    values: Array = np.random.default_rng(seed).normal(size=length).cumsum()
    return values


def windows_in(flat: FlatPanel) -> Windows:
    return find_windows(
        flat.panel, needs=ContextRequirements(context=CONTEXT, least_length=CONTEXT, least_known=2), horizon=HORIZON
    )


def fitted(
    *, seed: int = 0, start: list[Array] | None = None, values: Array | None = None, **told: Any
) -> FittedNetwork:
    usual: dict[str, Any] = {"epochs": 1, "batch_size": 8, "learning_rate": 0.01, "loss": "mae", "clip_norm": 1.0}
    flat = flat_of(walk() if values is None else values)
    settings = FitSettings(**usual | told, seed=seed)
    return fit_network(trunk_of("vanilla", seed=seed, levels=1), flat, windows_in(flat), settings, start=start)


@pytest.mark.parametrize("architecture", PLAIN)
@pytest.mark.parametrize(
    "sizes", [SIZES, NetworkSpec(context=2, features=1, horizon=1, units=1)], ids=["usual", "smallest"]
)
def test_each_window_gives_one_number_a_step(architecture: str, sizes: NetworkSpec) -> None:
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


def gated_and_keras_lstm(sizes: NetworkSpec) -> tuple[keras.Model, keras.Model]:
    """The gated cell and keras.layers.LSTM with the same weights, none of them zero."""
    gated, lstm = network_of("gated-cell", sizes), network_of("vanilla", sizes)
    rng = np.random.default_rng(0)
    weights = [rng.normal(scale=0.5, size=weight.shape) for weight in lstm.get_weights()]
    gated.set_weights(weights)
    lstm.set_weights(weights)
    return gated, lstm


@pytest.mark.parametrize(
    "sizes", [SIZES, NetworkSpec(context=12, features=3, horizon=2, units=5)], ids=["usual", "features"]
)
def test_the_gated_cell_computes_what_keras_lstm_does(sizes: NetworkSpec) -> None:
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
    network = network_of("stacked", NetworkSpec(context=3, features=1, horizon=1, units=2, layers=layers, dropout=0.2))

    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["InputLayer", *["LSTM", "Dropout"] * layers, "Dense"]


@pytest.mark.parametrize("position", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))])
@pytest.mark.parametrize("architecture", PLAIN)
def test_a_network_remembers_each_step(architecture: str, position: int) -> None:
    """The echo check: of five random digits the one at a position is asked for; at least 99 of 100 are right."""
    keras.utils.set_random_seed(0)
    digits = np.random.default_rng(position).integers(0, 10, (10_100, 5))
    one_hot = np.eye(10, dtype=np.float32)[digits]
    network = build_network(architecture, NetworkSpec(context=5, features=10, horizon=10, units=25))
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 970, warmup_target=0.01, warmup_steps=30)
    network.compile(keras.optimizers.Adam(schedule, global_clipnorm=1.0), "mse", jit_compile=False)

    network.fit(one_hot[:10_000], one_hot[:10_000, position], epochs=10, batch_size=100, verbose=0)

    answers = predict(network, one_hot[10_000:]).argmax(axis=1)
    assert (answers == digits[10_000:, position]).mean() >= REMEMBERED


def test_attention_gives_each_step_a_weight_and_all_of_them_make_one() -> None:
    weights = attention_weights(trunk_of("attention"), windows_for())

    assert weights is not None
    assert weights.shape == (7, CONTEXT)
    assert (weights > 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert attention_weights(trunk_of("vanilla"), windows_for()) is None


@pytest.mark.parametrize("optimizer", get_args(Optimizer))
@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_optimizer_lowers_the_loss(optimizer: str, schedule: str) -> None:
    loss = fitted(epochs=20, optimizer=optimizer, schedule=schedule, learning_rate=0.03).loss

    assert loss[-1] < loss[0]


@pytest.mark.parametrize(
    ("clipped", "most"),
    [({"clip_value": 0.01, "clip_norm": None}, 0.01), ({"clip_norm": 0.001}, 0.001), ({"clip_norm": None}, None)],
)
def test_gradients_are_clipped_by_value_or_by_norm(clipped: dict[str, Any], most: float | None) -> None:
    start = trunk_of("vanilla", levels=1).get_weights()
    jump = np.append(walk(length=CONTEXT), 1e4 + walk(length=HORIZON))

    moved = fitted(
        values=jump, start=start, batch_size=1, learning_rate=1.0, loss="mse", optimizer="sgd", **clipped
    ).trunk.get_weights()

    steps = np.concatenate([(after - before).ravel() for after, before in zip(moved, start, strict=True)])
    size = np.abs(steps).max() if clipped.get("clip_value") else np.linalg.norm(steps)
    assert size > 1 if most is None else size == pytest.approx(most, rel=1e-3)


def test_fitting_goes_on_from_the_weights_that_it_is_given() -> None:
    first = fitted(epochs=20)

    further = fitted(start=first.trunk.get_weights())

    assert further.loss[0] < first.loss[5]


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(
        ModelRefused, match="reads other inputs than the recipe and its series have now: retrain it from scratch"
    ):
        fitted(start=trunk_of("vanilla", units=5, levels=1).get_weights())


def test_the_best_epoch_is_the_one_with_the_lowest_validation_loss() -> None:
    trunk = trunk_of("vanilla")

    assert FittedNetwork(trunk=trunk, loss=(3, 2, 1), validation_loss=(3, 1, 2)).best_epoch == 2
    assert FittedNetwork(trunk=trunk, loss=(3, 2, 1), validation_loss=()).best_epoch == 3


def test_fitting_tells_each_epoch_and_stops_when_the_held_out_windows_gain_no_more() -> None:
    told = []
    rising, falling = flat_of(np.arange(40.0)), flat_of(-np.arange(40.0))
    settings = FitSettings(epochs=50, batch_size=8, learning_rate=0.1, loss="mae", seed=0, patience=2)

    stopped = fit_network(
        trunk_of("vanilla", levels=1),
        rising,
        windows_in(rising),
        settings,
        held_out=(falling, windows_in(falling)),
        on_epoch=lambda *epoch: told.append(epoch),
    )

    assert len(stopped.loss) == stopped.best_epoch + 2 < 50
    assert told == [(epoch, 50, loss) for epoch, loss in enumerate(stopped.loss, start=1)]


def test_a_fit_that_does_not_stay_finite_is_refused() -> None:
    with pytest.raises(ModelRefused, match="is not finite: lower training.learning_rate"):
        fitted(learning_rate=1e38, epochs=3, optimizer="sgd", loss="mse", clip_norm=None)
