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
    #: values that the training part holds, from the first on
    fitting: int


def remove_leak(tutorial: Tutorial) -> Tutorial:
    """The same protocol with a scaler that has not seen the test part, in the order of time."""
    return tutorial.model_copy(update={"scaled_on": "train", "order": "time"})


def list_networks(tutorial: Tutorial) -> list[Tutorial]:
    """The protocol with the tutorial's own network, then with each of its variants under its row's name.

    What is stacked has one layer more than the tutorial's own network; no variant's figure was printed.
    """
    own = tutorial.model_copy(update={"variants": {}})
    return [own] + [
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


def require_tutorial_history(values: Array, tutorial: Tutorial, series: str) -> None:
    """Refuse a series that the protocol cannot be carried out on.

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
            f"{tutorial.row} cannot leave out: raise max_gap, or take in what is missing"
        )


def split_series(count: int, tutorial: Tutorial) -> Split:
    """The parts of a series of `count` values, in the order in which the tutorial takes them."""
    context, lost = tutorial.context, int(tutorial.lose_last)
    if tutorial.split == "windows":
        predicted = np.arange(context, count - lost)
        size = _size(len(predicted), tutorial)
        return Split(train=predicted[:size], test=predicted[size:], fitting=context + size)
    size = _size(count, tutorial)
    test_from = size if tutorial.reach_back else size + context
    return Split(train=np.arange(context, size - lost), test=np.arange(test_from, count - lost), fitting=size)


def _size(count: int, tutorial: Tutorial) -> int:
    if tutorial.train >= 1:
        return int(tutorial.train)
    return (math.ceil if tutorial.rounding == "ceil" else math.floor)(count * tutorial.train)


def fit_scaler(values: Array, tutorial: Tutorial, *, until: int) -> tuple[float, float]:
    """Centre and scale, over all values or the first `until`."""
    seen = values if tutorial.scaled_on == "all" else values[:until]
    if tutorial.scaling == "min-max":
        centre, scale = seen.min(), seen.max() - seen.min()
    else:
        centre, scale = seen.mean(), seen.std()
    return float(centre), float(scale) if seen.max() > seen.min() else 1.0


def build_contexts(scaled: Array, predicted: npt.NDArray[np.int64], context: int) -> Array:
    """What comes before each predicted value [N, L, 1]."""
    windows: Array = scaled[predicted[:, None] - np.arange(context, 0, -1)]
    return windows[:, :, None]


def naive_forecast(values: Array, test: npt.NDArray[np.int64], tutorial: Tutorial) -> Array:
    """The last value that the protocol knows: of the period before, or of the whole fitting part."""
    return np.full(len(test), values[test[0] - 1]) if tutorial.recursive else values[test - 1]


def seasonal_naive_forecast(values: Array, test: npt.NDArray[np.int64], season: int, tutorial: Tutorial) -> Array:
    """The value one season before, as far as the protocol knows it; NaN before the first."""
    back = test - season
    if tutorial.recursive:
        back = test[0] - season + (np.arange(len(test)) % season)
    return np.where(back >= 0, values[np.maximum(back, 0)], np.nan)
