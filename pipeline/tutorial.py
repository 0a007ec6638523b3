"""The protocol of the tutorial that a recipe comes from: as written, and without its leaks.

As written, the scaler may see the test part, and the newest days may be trained on to predict the
oldest. Mended, the same network with the same settings is fitted on the earlier part only and scaled by
that part alone, in the order of time. Beside both stand the last value and the value one season before,
on the same test part. (A tutorial's lost last window stays lost, so that the test parts are the same.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline import metrics
from pipeline.models.sizes import Sizes
from pipeline.recipe import Recipe, Tutorial
from pipeline.training import Example, Fitting, OnEpoch, fit_network, predict

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


@dataclass(frozen=True, kw_only=True, slots=True)
class _Split:
    """Positions of the values to predict, in the order of the series."""

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    #: values that the training part holds, from the first on
    fitting: int


def replay(values: Array, recipe: Recipe, *, on_epoch: OnEpoch | None = None) -> list[ProtocolLine]:
    """Fit and score the tutorial's network under its own protocol and under the mended one.

    Args:
        values: the series in the order of time, without gaps.
        recipe: one with a `[tutorial]`.
        on_epoch: told of each epoch.
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


def without_leak(tutorial: Tutorial) -> Tutorial:
    """The same protocol with a scaler that has not seen the test part, in the order of time."""
    return tutorial.model_copy(update={"scaled_on": "train", "order": "time"})


def _line(protocol: str, values: Array, recipe: Recipe, tutorial: Tutorial, on_epoch: OnEpoch | None) -> ProtocolLine:
    split = _split(len(values), tutorial)
    centre, scale = _scaler(values, tutorial, until=split.fitting)
    scaled = (values - centre) / scale
    fitted = fit_network(
        tutorial.architecture,
        _sizes(tutorial),
        Fitting(
            epochs=tutorial.epochs,
            batch_size=tutorial.batch_size,
            learning_rate=tutorial.learning_rate,
            loss="mse",
            seed=recipe.training.seed,
            clip_value=tutorial.clip_value,
            shuffle=tutorial.shuffle,
        ),
        Example(inputs=_contexts(scaled, split.train, tutorial.context), targets=scaled[split.train][:, None]),
        on_epoch=on_epoch,
    )
    if tutorial.recursive:
        context = list(scaled[split.test[0] - tutorial.context : split.test[0]])
        for _ in split.test:
            context.append(float(predict(fitted.network, np.array(context[-tutorial.context :])[None, :, None])[0, 0]))
        outputs = np.array(context[tutorial.context :])
    else:
        outputs = predict(fitted.network, _contexts(scaled, split.test, tutorial.context))[:, 0]
    observed = values[split.test]
    return ProtocolLine(
        protocol=protocol,
        rmse=metrics.rmse(observed, outputs * scale + centre),
        naive=metrics.rmse(observed, _one_before(values, split.test, tutorial)),
        seasonal_naive=metrics.rmse(observed, _season_before(values, split.test, recipe.season, tutorial)),
        num_test=len(split.test),
    )


def _split(count: int, tutorial: Tutorial) -> _Split:
    context, lost = tutorial.context, int(tutorial.lose_last)
    if tutorial.split == "windows":
        predicted = np.arange(context, count - lost)
        size = _size(len(predicted), tutorial)
        return _Split(train=predicted[:size], test=predicted[size:], fitting=context + size)
    size = _size(count, tutorial)
    test_from = size if tutorial.reach_back else size + context
    return _Split(train=np.arange(context, size - lost), test=np.arange(test_from, count - lost), fitting=size)


def _size(count: int, tutorial: Tutorial) -> int:
    if tutorial.train >= 1:
        return int(tutorial.train)
    return (math.ceil if tutorial.rounding == "ceil" else math.floor)(count * tutorial.train)


def _scaler(values: Array, tutorial: Tutorial, *, until: int) -> tuple[float, float]:
    seen = values if tutorial.scaled_on == "all" else values[:until]
    if tutorial.scaling == "min-max":
        centre, scale = seen.min(), seen.max() - seen.min()
    else:
        centre, scale = seen.mean(), seen.std()
    return float(centre), float(scale) if seen.max() > seen.min() else 1.0


def _contexts(scaled: Array, predicted: npt.NDArray[np.int64], context: int) -> Array:
    """[N, L, 1]"""
    contexts: Array = scaled[predicted[:, None] - np.arange(context, 0, -1)]
    return contexts[:, :, None]


def _one_before(values: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """The last value that the protocol knows: of the period before, or of the whole fitting part."""
    return np.full(len(test), values[test[0] - 1]) if tutorial.recursive else values[test - 1]


def _season_before(values: Array, test: npt.NDArray[np.int64], season: int, tutorial: Tutorial) -> Array:
    back = test - season
    if tutorial.recursive:
        back = test[0] - season + (np.arange(len(test)) % season)
    return np.where(back >= 0, values[np.maximum(back, 0)], np.nan)


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
