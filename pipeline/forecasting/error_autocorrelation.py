"""How much of an error one period ahead is left one period later, as a panel's past shows it.

Where a network follows what it is fed, its errors from period to period are as good as independent. One that hardly moves
with the newest value is wrong for many periods in the same direction.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pipeline.forecasting.forecaster import WINDOWS_PER_BATCH, Forecaster, prepare_inputs
from pipeline.forecasting.quantile_function import scores_of
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.windows import Windows, has_enough, targets_of
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: pairs of errors of unit size without anything in common that are added to those of each series
_DOUBT = 3


def past_scores(
    forecaster: Forecaster, panel: Panel, features: FeatureArrays, origin: int, series: list[int], count: int
) -> Array:
    """The last observations of some series as scores of what the network said one period before: [n, count].

    The period at position `origin` of the panel's grid is the last; NaN where nothing was observed or said.
    """
    ends = np.arange(origin - count, origin)
    windows = Windows(np.repeat(np.array(series, np.int64), count), np.tile(ends, len(series)))
    readable = np.flatnonzero((windows.end >= 0) & has_enough(panel, windows, forecaster.needs))

    def scored(first: int) -> tuple[npt.NDArray[np.int64], Array]:
        chosen = readable[first : first + WINDOWS_PER_BATCH]
        read = prepare_inputs(panel, features, windows.take(chosen), forecaster.scaling, forecaster.needs.context)
        chosen = chosen[read.is_usable]
        if not len(chosen):
            return chosen, np.empty(0)
        observed = targets_of(panel, windows.take(chosen), 1)[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            said = forecaster.to_quantiles(forecaster.run_network(read.inputs), read)[:, 0]
            return chosen, scores_of(said, observed, logarithms=forecaster.scaling.logarithms)

    scores = np.full(len(windows), np.nan)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for chosen, found in threads.map(scored, range(0, len(readable), WINDOWS_PER_BATCH)):
            scores[chosen] = found
    return scores.reshape(len(series), count)


def past_differences(panel: Panel, origin: int, series: list[int], lags: list[int], count: int) -> Array:
    """The last errors of baselines that repeat the value `lag` periods before, in units of their size: [n, count]."""
    errors = np.full((len(series), count), np.nan)
    for n, (s, lag) in enumerate(zip(series, lags, strict=True)):
        values = panel.of(s)[: origin + 1 - panel.first[s]]
        found = (values[lag:] - values[:-lag])[-count:]
        size = np.sqrt(np.nanmean(np.square(found))) if np.isfinite(found).any() else 0.0
        errors[n, count - len(found) :] = found / size if size > 0 else np.nan
    return errors


def persistence(errors: Array) -> Array:
    """The share of an error that is left one period later, of errors [S, T] with NaN, each of about unit size: [S].

    The first autocorrelation about 0, which counts a lasting error as one; towards 0 where there are few pairs.
    """
    earlier, later = errors[:, :-1], errors[:, 1:]
    both = ~np.isnan(earlier) & ~np.isnan(later)
    product = np.where(both, earlier * later, 0.0).sum(axis=1)
    size = np.where(both, (np.square(earlier) + np.square(later)) / 2, 0.0).sum(axis=1)
    left: Array = product / (size + _DOUBT)
    return left
