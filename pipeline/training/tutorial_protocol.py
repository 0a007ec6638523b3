"""A tutorial's protocol: its split, scaler and baselines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.tutorial import Tutorial
from pipeline.errors import NotEnoughHistory
from pipeline.text import counted

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Positions of the values to predict, in the order of the series."""

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    #: number of first values that make up the training part
    fitting: int


def remove_leak(tutorial: Tutorial) -> Tutorial:
    """Return the same protocol with a scaler fitted on the training part alone, in the order of time."""
    return tutorial.model_copy(update={"scaled_on": "train", "order": "time"})


def list_networks(tutorial: Tutorial) -> list[Tutorial]:
    """List the protocol with the tutorial's own network, then with each of its variants under its row's name.

    A stacked variant has one layer more than the tutorial's own network. No tutorial printed a variant's figure.
    """
    own = tutorial.model_copy(update={"variants": {}})
    variants = [
        own.model_copy(
            update={
                "row": row,
                "published": None,
                "architecture": architecture,
                "layers": own.layers + 1 if architecture == "stacked" else 1,
            }
        )
        for row, architectures in tutorial.variants.items()
        for architecture in architectures
    ]
    return [own, *variants]


def require_tutorial_history(values: Array, tutorial: Tutorial, series: str) -> None:
    """Refuse a series [T] that the protocol cannot be run on.

    Raises:
        NotEnoughHistory: one of its parts is empty, or a period has no value.
    """
    split = split_series(len(values), tutorial)
    num_train, num_test = int((split.train < len(values)).sum()), len(split.test)
    if not num_train or not num_test:
        raise NotEnoughHistory(
            f'series "{series}" has {counted(len(values), "value")}: the protocol of tutorial {tutorial.row} (train '
            f"{tutorial.train:g}, context {tutorial.context}) leaves {num_train} to predict in its training part and "
            f"{num_test} in its test part, expected some in both; ingest more or change [tutorial]"
        )
    if num_missing := int(np.isnan(values).sum()):
        raise NotEnoughHistory(
            f'series "{series}" has no value for {counted(num_missing, "period")}, which the protocol of tutorial '
            f"{tutorial.row} cannot leave out: raise max_gap, or ingest the missing values"
        )


def split_series(num_values: int, tutorial: Tutorial) -> Split:
    """Split a series of `num_values` values, in the order in which the tutorial takes them."""
    context, num_lost = tutorial.context, int(tutorial.lose_last)
    if tutorial.split == "windows":
        predicted = np.arange(context, num_values - num_lost)
        size = _training_size(len(predicted), tutorial)
        return Split(train=predicted[:size], test=predicted[size:], fitting=context + size)
    size = _training_size(num_values, tutorial)
    test_start = size if tutorial.reach_back else size + context
    return Split(
        train=np.arange(context, size - num_lost), test=np.arange(test_start, num_values - num_lost), fitting=size
    )


def _training_size(total: int, tutorial: Tutorial) -> int:
    if tutorial.train >= 1:
        return int(tutorial.train)
    return (math.ceil if tutorial.rounding == "ceil" else math.floor)(total * tutorial.train)


def fit_scaler(values: Array, tutorial: Tutorial, *, until: int) -> tuple[float, float]:
    """Fit centre and scale on all values, or on the first `until`, as the protocol says; a scale of 0 counts as 1."""
    fitted_on = values if tutorial.scaled_on == "all" else values[:until]
    if tutorial.scaling == "min-max":
        centre, scale = fitted_on.min(), fitted_on.max() - fitted_on.min()
    else:
        centre, scale = fitted_on.mean(), fitted_on.std()
    return float(centre), float(scale) if fitted_on.max() > fitted_on.min() else 1.0


def build_contexts(scaled: Array, predicted: npt.NDArray[np.int64], context: int) -> Array:
    """Return the `context` values before each predicted position [N]: [N, L, 1]."""
    windows: Array = scaled[predicted[:, None] - np.arange(context, 0, -1)]
    return windows[:, :, None]


def naive_forecast(values: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """Forecast the test positions [N] by the last value known there: of the period before, or before the test part.

    Only the second is known to a recursive protocol.
    """
    return np.full(len(test), values[test[0] - 1]) if tutorial.recursive else values[test - 1]


def seasonal_naive_forecast(values: Array, test: npt.NDArray[np.int64], season: int, tutorial: Tutorial) -> Array:
    """Forecast the test positions [N] by the value one season before, as far as the protocol knows it; otherwise NaN.

    A recursive protocol repeats the last season before the test part.
    """
    position = test - season
    if tutorial.recursive:
        position = test[0] - season + (np.arange(len(test)) % season)
    return np.where(position >= 0, values[np.maximum(position, 0)], np.nan)
