"""The epoch loop against Keras's own fit: the same weights, with fused layers or not, in parts or whole."""

import logging
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from pipeline.models.fused_lstm import FusedLSTM, fuse_lstm_layers
from pipeline.training import gradient_steps
from pipeline.training.gradient_steps import compile_epoch, compile_mean_loss

pytestmark = pytest.mark.tensorflow

Array = npt.NDArray[np.float32]

BATCH, STEPS, CONTEXT = 32, 40, 9
LSTM = keras.layers.LSTM

#: name, layers over a context, how many of them the kernel covers
NETWORKS: dict[str, tuple[Any, int]] = {
    "one": (lambda x: LSTM(8)(x), 1),
    "stacked": (lambda x: LSTM(6)(LSTM(8, return_sequences=True)(x)), 2),
    "backwards": (lambda x: keras.layers.Concatenate()([LSTM(4)(x), LSTM(4, go_backwards=True)(x)]), 2),
    "state handed over": (lambda x: LSTM(5)(x, initial_state=LSTM(5, return_state=True)(x)[1:]), 2),
    "state given out": (lambda x: keras.layers.Concatenate()(LSTM(5, return_state=True)(x)), 1),
    "within a network": (lambda x: keras.Sequential([LSTM(8), keras.layers.Dense(4)])(x), 1),
    "relu": (lambda x: LSTM(8, activation="relu")(x), 0),
    "no bias": (lambda x: LSTM(8, use_bias=False)(x), 0),
    "masked": (lambda x: LSTM(8)(keras.layers.Masking()(x)), 1),
}


def examples(num_windows: int = BATCH * STEPS) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(num_windows, CONTEXT, 3)).astype(np.float32)
    x[::5, :4] = 0
    return x, x[:, -2:, 0].copy()


def network_of(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    context = keras.Input((CONTEXT, 3))
    return keras.Model(context, keras.layers.Dense(2)(NETWORKS[name][0](context)))


def adam() -> keras.optimizers.Optimizer:
    return keras.optimizers.Adam(0.01, global_clipnorm=1.0)


def squares(network: keras.Model, x: Array, y: Array) -> Any:
    inputs, targets = tf.constant(x), tf.constant(y)

    def sum_losses(indices: Any, counts: Any) -> tuple[Any, Any]:
        errors = network(tf.gather(inputs, indices), training=True) - tf.gather(targets, indices)
        return tf.reduce_sum(tf.reduce_mean(tf.square(errors), axis=1) * counts), tf.reduce_sum(counts)

    return sum_losses


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for one in network.layers for layer in (layers_of(one) if hasattr(one, "layers") else [one])]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("num_parts", [1, 2, 3])
def test_weights_after_forty_steps_are_those_of_keras(
    name: str, num_parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient_steps, "_num_parts", lambda _: num_parts)
    x, y = examples()
    ours, theirs = network_of(name), network_of(name)
    theirs.compile(adam(), "mse", jit_compile=False)
    loss = theirs.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0).history["loss"][0]

    fused = fuse_lstm_layers(ours)
    fit_epoch = compile_epoch(ours.trainable_variables, squares(fused, x, y), adam(), batch_size=BATCH)

    assert sum(isinstance(layer, FusedLSTM) for layer in layers_of(fused)) == NETWORKS[name][1]
    assert fit_epoch(np.arange(len(x))) == pytest.approx(loss, rel=1e-5)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)


def test_the_network_that_was_fitted_stays_an_ordinary_one() -> None:
    network = network_of("stacked")
    before = network.get_config()

    fused = fuse_lstm_layers(network)

    assert network.get_config() == before
    x, _ = examples(7)
    np.testing.assert_allclose(fused.predict(x, verbose=0), network.predict(x, verbose=0), atol=1e-6)


def test_a_last_batch_that_is_not_full_counts_by_its_windows() -> None:
    x, y = examples(BATCH + 5)
    ours, theirs = network_of("one"), network_of("one")
    for some in (slice(0, BATCH), slice(BATCH, None)):
        theirs.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
        theirs.fit(x[some], y[some], batch_size=BATCH, shuffle=False, verbose=0)

    fit_epoch = compile_epoch(
        ours.trainable_variables, squares(fuse_lstm_layers(ours), x, y), keras.optimizers.SGD(0.1), batch_size=BATCH
    )
    fit_epoch(np.arange(len(x)))

    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)


@pytest.mark.parametrize("num_windows", [1, 1024, 1500])
def test_the_mean_loss_is_that_of_all_windows(num_windows: int) -> None:
    x, y = examples(num_windows)
    network = network_of("one")

    mean = compile_mean_loss(squares(network, x, y))(np.arange(num_windows))

    assert mean == pytest.approx(float(np.square(network.predict(x, verbose=0) - y).mean()), rel=1e-5)


def test_many_fits_in_one_process_give_no_retracing_warning(caplog: pytest.LogCaptureFixture) -> None:
    x, y = examples(BATCH)
    tf_logger = logging.getLogger("tensorflow")
    tf_logger.addHandler(caplog.handler)

    for _ in range(8):
        network = network_of("one")
        losses = squares(network, x, y)
        compile_epoch(network.trainable_variables, losses, adam(), batch_size=BATCH)(np.arange(BATCH))
        compile_mean_loss(losses)(np.arange(BATCH))

    tf_logger.removeHandler(caplog.handler)
    assert not [record.getMessage() for record in caplog.records if "retracing" in record.getMessage()]


def test_windows_are_fitted_in_the_given_order() -> None:
    x, y = examples()
    order = np.random.default_rng(1).permutation(len(x))
    weights = []
    for inputs, targets, indices in ((x, y, order), (x[order], y[order], np.arange(len(x)))):
        network = network_of("one")
        compile_epoch(network.trainable_variables, squares(network, inputs, targets), adam(), batch_size=BATCH)(indices)
        weights.append(network.get_weights())

    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
