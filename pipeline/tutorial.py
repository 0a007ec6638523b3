"""A tutorial's network under its protocol: as written, and without its leaks.

As written, the scaler may see the test part, and the newest days may be trained on to predict the
oldest. Mended, the same network with the same settings is fitted on the earlier part only and scaled by
that part alone, in the order of time. Beside both stand the last value and the value one season before,
on the same test part. (A tutorial's lost last window stays lost, so that the test parts are the same.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from pipeline import metrics
from pipeline.architectures import build_network
from pipeline.errors import ModelRefused
from pipeline.models.sizes import Sizes
from pipeline.protocol import Tutorial, contexts, one_before, scaler, season_before, split_of, without_leak
from pipeline.recipe import Recipe
from pipeline.training import predict, refuse_unless_finite

Array = npt.NDArray[np.float64]

#: called with epochs done, epochs in all and the loss of the last
OnEpoch = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolLine:
    """One way of doing it, with the test error of everyone on the same test part."""

    protocol: str
    rmse: float
    naive: float
    #: NaN where nothing is one season before
    seasonal_naive: float
    num_test: int


def replay(values: Array, recipe: Recipe, *, on_epoch: OnEpoch | None = None) -> list[ProtocolLine]:
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
    mended = without_leak(tutorial)
    if mended == tutorial:
        return [*lines, replace(lines[0], protocol="without the leak (it has none)")]
    return [*lines, _line("without the leak", values, recipe, mended, on_epoch)]


def _line(protocol: str, values: Array, recipe: Recipe, tutorial: Tutorial, on_epoch: OnEpoch | None) -> ProtocolLine:
    split = split_of(len(values), tutorial)
    centre, scale = scaler(values, tutorial, until=split.fitting)
    scaled = (values - centre) / scale
    inputs, targets = contexts(scaled, split.train, tutorial.context), scaled[split.train][:, None]
    network = _fitted(tutorial, inputs, targets, seed=recipe.training.seed, on_epoch=on_epoch)
    outputs = _outputs(network, scaled, split.test, tutorial)
    observed = values[split.test]
    return ProtocolLine(
        protocol=protocol,
        rmse=metrics.rmse(observed, outputs * scale + centre),
        naive=metrics.rmse(observed, one_before(values, split.test, tutorial)),
        seasonal_naive=metrics.rmse(observed, season_before(values, split.test, recipe.season, tutorial)),
        num_test=len(split.test),
    )


def _fitted(tutorial: Tutorial, inputs: Array, targets: Array, *, seed: int, on_epoch: OnEpoch | None) -> keras.Model:
    """The network after the tutorial's epochs: Adam and MSE, as all of the texts have it."""
    keras.utils.set_random_seed(seed)
    network = build_network(tutorial.architecture, _sizes(tutorial))
    num_steps = -(-len(inputs) // tutorial.batch_size)
    network.compile(
        optimizer=keras.optimizers.Adam(tutorial.learning_rate, clipvalue=tutorial.clip_value),
        loss="mse",
        steps_per_execution=min(num_steps, 32),
        jit_compile=False,
    )
    losses = network.fit(
        inputs.astype(np.float32),
        targets.astype(np.float32),
        epochs=tutorial.epochs,
        batch_size=tutorial.batch_size,
        shuffle=tutorial.shuffle,
        callbacks=[_reporter(tutorial.epochs, on_epoch)] if on_epoch else [],
        verbose=0,
    ).history["loss"]
    try:
        refuse_unless_finite(network, losses)
    except ModelRefused:
        raise ModelRefused(
            f"the {tutorial.architecture} network of tutorial {tutorial.row} did not stay finite: "
            "lower tutorial.learning_rate or set tutorial.clip_value"
        ) from None
    return network


def _reporter(epochs: int, on_epoch: OnEpoch) -> keras.callbacks.Callback:
    def on_epoch_end(epoch: int, logs: dict[str, Any]) -> None:
        on_epoch(epoch + 1, epochs, float(logs["loss"]))

    return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)


def _outputs(network: keras.Model, scaled: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """What the network predicts for the test part, each from observed values or from its own predictions."""
    if not tutorial.recursive:
        return predict(network, contexts(scaled, test, tutorial.context))[:, 0]
    context = list(scaled[test[0] - tutorial.context : test[0]])
    for _ in test:
        context.append(float(predict(network, np.array(context[-tutorial.context :])[None, :, None])[0, 0]))
    return np.array(context[tutorial.context :])


def _sizes(tutorial: Tutorial) -> Sizes:
    return Sizes(
        context=tutorial.context,
        features=1,
        horizon=1,
        units=tutorial.units,
        layers=tutorial.layers,
        activation=tutorial.activation,
        dropout=tutorial.dropout,
    )
