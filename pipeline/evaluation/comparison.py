"""Challenger, champion and baseline from the same origins, on which neither model was fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.promotion import ErrorComparison, worse_than
from pipeline.forecasting.baselines import forecast_baseline
from pipeline.forecasting.forecaster import Forecaster
from pipeline.preprocessing.windows import Windows
from pipeline.text import counted
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


def forecast_windows(forecaster: Forecaster, panel: Panel, windows: Windows) -> Array:
    """What a forecaster would have said at the ends of some windows: [N, H], NaN where it lacks what it needs."""
    found = np.full((len(windows), forecaster.horizon), np.nan)
    for end in np.unique(windows.end):
        at = np.flatnonzero(windows.end == end)
        known = panel.until(int(end))
        series, mean, _ = forecaster.predict(known)
        row = {known.series[s]: n for n, s in enumerate(series)}
        told = [(n, row[name]) for n in at if (name := panel.series[windows.series[n]]) in row]
        if told:
            to, which = np.array(told).T
            found[to] = mean[which]
    return found


def compare_errors(backtest: HoldoutBacktest, rival: Array | None, name: str) -> ErrorComparison:
    """Scaled absolute errors by period, from the windows where all three say something.

    Args:
        backtest: of the challenger.
        rival: what the champion says at its windows, [N, H]; where it says nothing, the baseline stands in.
        name: of the baseline.
    """
    horizon = backtest.observed.shape[1]
    simple = forecast_baseline(name, backtest.context, horizon=horizon, season=backtest.season)
    theirs = None if rival is None else np.where(np.isnan(rival), simple, rival)
    each = [_scaled_errors(backtest, said) for said in (backtest.forecast, simple, theirs) if said is not None]
    judged = np.asarray(~np.isnan(np.stack(each)).any(axis=0))
    period = backtest.windows.end[:, None] + np.arange(1, horizon + 1)
    rows = [_by_period(errors, period, judged) for errors in each]
    return ErrorComparison(
        challenger=rows[0],
        baseline=rows[1],
        champion=rows[2] if rival is not None else None,
        num_series=len(np.unique(backtest.windows.series[judged.any(axis=1)])),
    )


def series_worse_than_baseline(backtest: HoldoutBacktest, name: str, names: Sequence[str]) -> dict[str, str]:
    """The series that a model forecasts worse than the baseline, each with the figures."""
    horizon = backtest.observed.shape[1]
    simple = forecast_baseline(name, backtest.context, horizon=horizon, season=backtest.season)
    ours, theirs = (_by_series(backtest, _scaled_errors(backtest, said)) for said in (backtest.forecast, simple))
    found = {}
    for s in np.flatnonzero(worse_than(ours, theirs)).tolist():
        figures = f"MASE {ours[s].mean():.2f} against {theirs[s].mean():.2f}"
        found[names[s]] = f"worse than {name} over {counted(ours.shape[1], 'test period')}: {figures}"
    return found


def _scaled_errors(backtest: HoldoutBacktest, forecast: Array) -> Array:
    usable = np.where(backtest.mase_scale > 0, backtest.mase_scale, np.nan)
    scaled: Array = np.abs(backtest.observed - forecast) / usable
    return scaled


def _by_period(errors: Array, period: npt.NDArray[np.int64], judged: npt.NDArray[np.bool_]) -> Array:
    if not judged.any():
        return np.empty(0)
    place = period[judged] - period[judged].min()
    count = np.bincount(place)
    mean: Array = (np.bincount(place, errors[judged]) / np.maximum(count, 1))[count > 0]
    return mean


def _by_series(backtest: HoldoutBacktest, errors: Array) -> Array:
    """Mean errors by series and period [S, T], NaN where there is none."""
    period = backtest.windows.end[:, None] + np.arange(1, errors.shape[1] + 1)
    first, known = period.min(), ~np.isnan(errors)
    series = np.broadcast_to(backtest.windows.series[:, None], errors.shape)
    shape = int(backtest.windows.series.max()) + 1, int(period[known].max()) - first + 1 if known.any() else 1
    place = np.ravel_multi_index((series[known], period[known] - first), shape)
    size = shape[0] * shape[1]
    count, total = np.bincount(place, minlength=size), np.bincount(place, errors[known], minlength=size)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(shape)
    return mean
