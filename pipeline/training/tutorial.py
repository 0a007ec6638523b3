"""Fit a tutorial's network under the tutorial's protocol, as written and without its leaks.

As written, the scaler may be fitted on the test part too, and the newest days may be the training part that predicts the
oldest. Without the leak, the same network with the same settings is fitted on the earlier part only and scaled by that
part alone, in the order of time. Beside both stand the last value and the value one season before, on the same test
part. A tutorial that loses its last window loses it in both, so that the test parts are the same.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from pipeline.config.recipe import Recipe
from pipeline.config.tutorial import Tutorial
from pipeline.errors import ModelRefused
from pipeline.evaluation import metrics
from pipeline.models.fused_lstm import fuse_lstm_layers
from pipeline.models.network_builder import build_network
from pipeline.models.specs import NetworkSpec
from pipeline.records.training import ProtocolRecord
from pipeline.training.export import predict
from pipeline.training.fit_network import require_finite
from pipeline.training.gradient_steps import compile_epoch
from pipeline.training.progress import OnEpoch
from pipeline.training.tutorial_protocol import (
    build_contexts,
    fit_scaler,
    naive_forecast,
    remove_leak,
    seasonal_naive_forecast,
    split_series,
)

Array = npt.NDArray[np.float64]


def run_protocol(values: Array, recipe: Recipe, *, on_epoch: OnEpoch | None = None) -> tuple[ProtocolRecord, ...]:
    """Fit and score the tutorial's network under its own protocol, and under the same one without its leaks.

    Args:
        values: the series in the order of time, without gaps, [T].
        recipe: empty result without a `[tutorial]`.
        on_epoch: called after each epoch.

    Returns:
        the test errors (RMSE, in units of the series) of the network and of both baselines on the same test part.

    Raises:
        ModelRefused: a fit did not stay finite.
    """
    tutorial = recipe.tutorial
    if tutorial is None:
        return ()
    in_tutorial_order = values[::-1] if tutorial.order == "newest-first" else values
    as_written = _fit_and_score("as written", in_tutorial_order, recipe, tutorial, on_epoch)
    without_leak = remove_leak(tutorial)
    if without_leak == tutorial:
        return as_written, as_written.model_copy(update={"protocol": "without the leak (it has none)"})
    return as_written, _fit_and_score("without the leak", values, recipe, without_leak, on_epoch)


def _fit_and_score(
    name: str, values: Array, recipe: Recipe, tutorial: Tutorial, on_epoch: OnEpoch | None
) -> ProtocolRecord:
    split = split_series(len(values), tutorial)
    centre, scale = fit_scaler(values, tutorial, until=split.fitting)
    scaled = (values - centre) / scale
    contexts, targets = build_contexts(scaled, split.train, tutorial.context), scaled[split.train]
    network = fit_tutorial_network(tutorial, contexts, targets, seed=recipe.training.seed, on_epoch=on_epoch)
    forecast = _forecast_test_part(network, scaled, split.test, tutorial) * scale + centre
    observed = values[split.test]
    return ProtocolRecord(
        protocol=name,
        rmse=metrics.rmse(observed, forecast),
        naive=metrics.rmse(observed, naive_forecast(values, split.test, tutorial)),
        seasonal_naive=metrics.rmse(observed, seasonal_naive_forecast(values, split.test, recipe.season, tutorial)),
        num_test=len(split.test),
    )


def fit_tutorial_network(
    tutorial: Tutorial, contexts: Array, targets: Array, *, seed: int, on_epoch: OnEpoch | None
) -> keras.Model:
    """Fit the tutorial's network for its epochs with Adam and the mean squared error, as all tutorials do.

    Args:
        tutorial: architecture and settings.
        contexts: scaled, [N, L, 1].
        targets: the scaled value after each context, [N].
        seed: of weights and order.
        on_epoch: called after each epoch.

    Raises:
        ModelRefused: the fit did not stay finite.
    """
    keras.utils.set_random_seed(seed)
    network = build_network(tutorial.architecture, network_spec(tutorial))
    fused = fuse_lstm_layers(network)
    x, y = (tf.constant(values, tf.float32) for values in (contexts, targets))

    def sum_squares(indices: Any, counts: Any) -> tuple[Any, Any]:
        errors = fused(tf.gather(x, indices), training=True)[:, 0] - tf.gather(y, indices)
        return tf.reduce_sum(tf.square(errors) * counts), tf.reduce_sum(counts)

    fit_epoch = compile_epoch(
        network.trainable_variables,
        sum_squares,
        keras.optimizers.Adam(tutorial.learning_rate, clipvalue=tutorial.clip_value),
        batch_size=tutorial.batch_size,
    )
    rng, losses = np.random.default_rng(seed), []
    for epoch in range(tutorial.epochs):
        losses.append(fit_epoch(rng.permutation(len(contexts)) if tutorial.shuffle else np.arange(len(contexts))))
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


def _forecast_test_part(network: keras.Model, scaled: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """Scaled predictions of the test part [N]: each from observed values, or recursively from earlier predictions."""
    if not tutorial.recursive:
        return predict(network, build_contexts(scaled, test, tutorial.context))[:, 0]
    values = list(scaled[test[0] - tutorial.context : test[0]])
    for _ in test:
        context = np.array(values[-tutorial.context :], np.float32)[None, :, None]  # [1, L, 1]
        values.append(float(network(context)[0, 0]))
    return np.array(values[tutorial.context :])


def network_spec(tutorial: Tutorial) -> NetworkSpec:
    """Sizes of the tutorial's network: one feature in, one step ahead."""
    return NetworkSpec(
        context=tutorial.context,
        features=1,
        horizon=1,
        units=tutorial.units,
        layers=tutorial.layers,
        activation=tutorial.activation,
        dropout=tutorial.dropout,
    )
