"""Lag-1 autocorrelation of one-step errors, by series.

Sample paths draw their steps with this autocorrelation. The errors of a network that follows the newest value are nearly
independent. One that hardly reacts to it is wrong in the same direction for many periods.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from pipeline.forecasting.forecaster import WINDOWS_PER_BATCH, Forecaster, prepare_inputs
from pipeline.forecasting.quantile_function import scores_of_values
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.windows import Windows, have_enough_context, read_targets
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: weight of the prior "no autocorrelation": as of this many uncorrelated pairs of errors of unit size
_PRIOR_PAIRS = 3


def network_error_scores(
    forecaster: Forecaster, panel: Panel, features: FeatureArrays, origin: int, series: list[int], count: int
) -> Array:
    """The last `count` one-step errors of the network as standard normal scores of its forecast distribution: [n, count].

    Args:
        forecaster: whose errors.
        panel: may go on after the origin.
        features: covariates of the same panel.
        origin: position in the panel's grid of the last period that is scored.
        series: indices of n series in the panel.
        count: periods that are scored.

    Returns:
        [n, count], oldest first; NaN where nothing was observed or could be forecast.
    """
    ends = np.arange(origin - count, origin)
    windows = Windows(np.repeat(np.array(series, np.int64), count), np.tile(ends, len(series)))
    readable = np.flatnonzero((windows.end >= 0) & have_enough_context(panel, windows, forecaster.needs))

    def score_batch(start: int) -> tuple[npt.NDArray[np.int64], Array]:
        rows = readable[start : start + WINDOWS_PER_BATCH]
        inputs = prepare_inputs(panel, features, windows.take(rows), forecaster.scaling, forecaster.needs.context)
        rows = rows[inputs.is_usable]
        if not len(rows):
            return rows, np.empty(0)
        observed = read_targets(panel, windows.take(rows), 1)[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            one_step = forecaster.to_quantiles(forecaster.run_network(inputs.inputs), inputs)[:, 0]  # [N, Q]
            return rows, scores_of_values(one_step, observed, logarithms=forecaster.scaling.logarithms)

    scores = np.full(len(windows), np.nan)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for rows, batch in threads.map(score_batch, range(0, len(readable), WINDOWS_PER_BATCH)):
            scores[rows] = batch
    return scores.reshape(len(series), count)


def baseline_error_scores(panel: Panel, origin: int, series: list[int], lags: list[int], count: int) -> Array:
    """The last `count` errors of naive forecasts up to the origin, divided by their root mean square: [n, count].

    Args:
        panel: may go on after the origin.
        origin: position in the panel's grid of the last period that is scored.
        series: indices of n series in the panel.
        lags: for each of them, the periods back to the value that its baseline repeats.
        count: periods that are scored.

    Returns:
        [n, count], oldest first; NaN where nothing was observed, and for a series that never changed.
    """
    scores = np.full((len(series), count), np.nan)
    for n, (s, lag) in enumerate(zip(series, lags, strict=True)):
        values = panel.series_values(s)[: origin + 1 - panel.first[s]]
        errors = (values[lag:] - values[:-lag])[-count:]
        size = np.sqrt(np.nanmean(np.square(errors))) if np.isfinite(errors).any() else 0.0
        scores[n, count - len(errors) :] = errors / size if size > 0 else np.nan
    return scores


def lag1_autocorrelation(scores: Array) -> Array:
    """Lag-1 autocorrelation of errors [S, T] of about unit size, without the pairs that have a NaN: [S].

    The mean is taken as 0, so that a lasting error counts as autocorrelated. Few pairs are shrunk towards 0: the sum of
    products is divided by the mean sum of squares plus `_PRIOR_PAIRS`.
    """
    earlier, later = scores[:, :-1], scores[:, 1:]
    has_both = ~np.isnan(earlier) & ~np.isnan(later)
    products = np.where(has_both, earlier * later, 0.0).sum(axis=1)
    squares = np.where(has_both, (np.square(earlier) + np.square(later)) / 2, 0.0).sum(axis=1)
    autocorrelation: Array = products / (squares + _PRIOR_PAIRS)
    return autocorrelation
