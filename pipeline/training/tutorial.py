"""A tutorial's network under its protocol: as written, and without its leaks.

As written, the scaler may see the test part, and the newest days may be trained on to predict the
oldest. Mended, the same network with the same settings is fitted on the earlier part only and scaled by
that part alone, in the order of time. Beside both stand the last value and the value one season before,
on the same test part. (A tutorial's lost last window stays lost, so that the test parts are the same.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.config.recipe import Recipe
from pipeline.config.tutorial import Tutorial
from pipeline.errors import ModelRefused
from pipeline.evaluation import metrics
from pipeline.models.build import build_network
from pipeline.models.fused_lstm import fuse_lstm_layers
from pipeline.models.specs import NetworkSpec
from pipeline.training.epoch_loop import compile_epoch
from pipeline.training.export import predict
from pipeline.training.fit import OnEpoch, require_finite
from pipeline.training.tutorial_protocol import (
    build_contexts,
    fit_scaler,
    naive_forecast,
    remove_leak,
    seasonal_naive_forecast,
    split_series,
)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolLine:
    """One way of doing it, with the test error of everyone on the same test part."""

    protocol: str
    rmse: float
    naive: float
    #: NaN where nothing is one season before
    seasonal_naive: float
    num_test: int


def run_protocol(values: Array, recipe: Recipe, *, on_epoch: OnEpoch | None = None) -> list[ProtocolLine]:
    """Fit and score the tutorial's network under its own protocol and under the mended one.

    Args:
        values: the series in the order of time, without gaps.
        recipe: one with a `[tutorial]`.
        on_epoch: told of each epoch.

    Raises:
        ModelRefused: a fit did not stay finite.
    """
    tutorial = recipe.tutorial
    if tutorial is None:
        return []
    as_taken = values[::-1] if tutorial.order == "newest-first" else values
    lines = [_line("as written", as_taken, recipe, tutorial, on_epoch)]
    mended = remove_leak(tutorial)
    if mended == tutorial:
        return [*lines, replace(lines[0], protocol="without the leak (it has none)")]
    return [*lines, _line("without the leak", values, recipe, mended, on_epoch)]


def _line(protocol: str, values: Array, recipe: Recipe, tutorial: Tutorial, on_epoch: OnEpoch | None) -> ProtocolLine:
    split = split_series(len(values), tutorial)
    centre, scale = fit_scaler(values, tutorial, until=split.fitting)
    scaled = (values - centre) / scale
    inputs, targets = build_contexts(scaled, split.train, tutorial.context), scaled[split.train]
    network = fit_tutorial_network(tutorial, inputs, targets, seed=recipe.training.seed, on_epoch=on_epoch)
    outputs = _outputs(network, scaled, split.test, tutorial)
    observed = values[split.test]
    return ProtocolLine(
        protocol=protocol,
        rmse=metrics.rmse(observed, outputs * scale + centre),
        naive=metrics.rmse(observed, naive_forecast(values, split.test, tutorial)),
        seasonal_naive=metrics.rmse(observed, seasonal_naive_forecast(values, split.test, recipe.season, tutorial)),
        num_test=len(split.test),
    )


def fit_tutorial_network(
    tutorial: Tutorial, inputs: Array, targets: Array, *, seed: int, on_epoch: OnEpoch | None
) -> keras.Model:
    """The network after the tutorial's epochs: Adam and MSE, as all of the texts have it."""
    keras.utils.set_random_seed(seed)
    network = build_network(tutorial.architecture, network_spec(tutorial))
    faster = fuse_lstm_layers(network)
    x, y = (tf.constant(values, tf.float32) for values in (inputs, targets))

    def squares(numbers: Any, counts: Any) -> tuple[Any, Any]:
        errors = faster(tf.gather(x, numbers), training=True)[:, 0] - tf.gather(y, numbers)
        return tf.reduce_sum(tf.square(errors) * counts), tf.reduce_sum(counts)

    fit_epoch = compile_epoch(
        network.trainable_variables,
        squares,
        keras.optimizers.Adam(tutorial.learning_rate, clipvalue=tutorial.clip_value),
        batch_size=tutorial.batch_size,
    )
    rng, losses = np.random.default_rng(seed), []
    for epoch in range(tutorial.epochs):
        losses.append(fit_epoch(rng.permutation(len(inputs)) if tutorial.shuffle else np.arange(len(inputs))))
        if on_epoch:
            on_epoch(epoch + 1, tutorial.epochs, losses[-1])
    try:
        require_finite(network, losses)
    except ModelRefused:
        raise ModelRefused(
            f"the {tutorial.architecture} network of tutorial {tutorial.row} did not stay finite: "
            "lower tutorial.learning_rate or set tutorial.clip_value"
        ) from None
    return network


def _outputs(network: keras.Model, scaled: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """What the network predicts for the test part, each from observed values or from its own predictions."""
    if not tutorial.recursive:
        return predict(network, build_contexts(scaled, test, tutorial.context))[:, 0]
    context = list(scaled[test[0] - tutorial.context : test[0]])
    for _ in test:
        context.append(float(predict(network, np.array(context[-tutorial.context :])[None, :, None])[0, 0]))
    return np.array(context[tutorial.context :])


def network_spec(tutorial: Tutorial) -> NetworkSpec:
    """The sizes of its network."""
    return NetworkSpec(
        context=tutorial.context,
        features=1,
        horizon=1,
        units=tutorial.units,
        layers=tutorial.layers,
        activation=tutorial.activation,
        dropout=tutorial.dropout,
    )
