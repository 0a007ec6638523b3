"""Errors of challenger, champion and baseline from the same origins, on which neither model was fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import AUTO_BASELINE, USUAL_BASELINE
from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.metrics import MASE, absolute_scaled_error
from pipeline.evaluation.promotion import ErrorComparison, is_significantly_worse
from pipeline.forecasting.baselines import BASELINES, forecast_baseline
from pipeline.forecasting.forecaster import Forecaster
from pipeline.preprocessing.windows import Windows
from pipeline.text import counted
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


def forecast_windows(forecaster: Forecaster, panel: Panel, windows: Windows) -> Array:
    """Forecasts [N, H] from the ends of N windows, each with what was observed by then; NaN where it cannot forecast."""
    forecasts = np.full((len(windows), forecaster.horizon), np.nan)
    for end in np.unique(windows.end):
        history = panel.until(int(end))
        series, mean, _ = forecaster.predict(history)
        row_of = {history.series[s]: row for row, s in enumerate(series)}
        of_origin = np.flatnonzero(windows.end == end)
        rows = np.array([row_of.get(panel.series[s], -1) for s in windows.series[of_origin]], np.int64)
        forecasts[of_origin[rows >= 0]] = mean[rows[rows >= 0]]
    return forecasts


def choose_baseline(backtest: HoldoutBacktest | None, configured: str) -> str:
    """The baseline that a recipe names, or the one with the lowest MASE on the backtest itself for "auto".

    Chosen after the fact the best of three is a harder opponent than any of them: the skill errs on the low side.
    """
    if configured != AUTO_BASELINE:
        return configured
    if backtest is None or not len(backtest.windows):
        return USUAL_BASELINE
    sets = backtest.evaluation_sets()
    mase = {name: float(MASE.over(sets[name].take(backtest.is_disjoint))) for name in BASELINES}
    measured = {name: error for name, error in mase.items() if np.isfinite(error)}
    return min(measured, key=measured.__getitem__) if measured else USUAL_BASELINE


def compare_errors(backtest: HoldoutBacktest, rival: Array | None, name: str) -> ErrorComparison:
    """Absolute scaled errors by period, over the windows and steps where all methods have one.

    Args:
        backtest: of the challenger, N windows.
        rival: the champion's forecasts of the same windows [N, H]; where they are NaN, the baseline's stand in; None:
            there is no champion to compare with.
        name: of the baseline.
    """
    baseline = _baseline(backtest, name)
    forecasts = [backtest.forecast, baseline]
    if rival is not None:
        forecasts.append(np.where(np.isnan(rival), baseline, rival))
    errors = [absolute_scaled_error(backtest.evaluation_set(forecast)) for forecast in forecasts]  # [N, H] each
    is_compared = np.asarray(~np.isnan(np.stack(errors)).any(axis=0))
    period = _target_positions(backtest)
    by_period = [_mean_by_period(error, period, is_compared) for error in errors]
    return ErrorComparison(
        challenger=by_period[0],
        baseline=by_period[1],
        champion=by_period[2] if rival is not None else None,
        num_series=len(np.unique(backtest.windows.series[is_compared.any(axis=1)])),
    )


def series_worse_than_baseline(backtest: HoldoutBacktest, configured: str, names: Sequence[str]) -> dict[str, str]:
    """Why a series is to be forecast by a baseline, for each series that the network forecasts significantly worse.

    The network's own forecasts count, also where a covariate was not known: it will be where they are published.

    Args:
        backtest: of the network.
        configured: the recipe's baseline; "auto": each of the three, at a third of the level, so that a sound network
            loses a series no more often; of several the one with the least error.
        names: of the series, in the order of the backtest's panel.

    Returns:
        by the series' name, a sentence with the baseline and the figures.
    """
    candidates = BASELINES if configured == AUTO_BASELINE else (configured,)
    ours = _errors_by_series(backtest, backtest.network_forecast)
    reasons: dict[str, str] = {}
    least: dict[str, float] = {}
    for name in candidates:
        theirs = _errors_by_series(backtest, _baseline(backtest, name))
        for s in np.flatnonzero(is_significantly_worse(ours, theirs, num_tests=len(candidates))).tolist():
            error = float(theirs[s].mean())
            if error < least.get(names[s], np.inf):
                figures = f"MASE {ours[s].mean():.2f} against {error:.2f}"
                least[names[s]] = error
                reasons[names[s]] = f"worse than {name} over {counted(ours.shape[1], 'test period')}: {figures}"
    return reasons


def _baseline(backtest: HoldoutBacktest, name: str) -> Array:
    """The baseline's forecasts from the origins of a backtest: [N, H]."""
    horizon = backtest.observed.shape[1]
    return forecast_baseline(name, backtest.context, horizon=horizon, season=backtest.season)


def _target_positions(backtest: HoldoutBacktest) -> npt.NDArray[np.int64]:
    """The position in the panel's grid of each forecast period: [N, H]."""
    return np.asarray(backtest.windows.end[:, None] + np.arange(1, backtest.observed.shape[1] + 1))


def _mean_by_period(errors: Array, period: npt.NDArray[np.int64], is_compared: npt.NDArray[np.bool_]) -> Array:
    """Mean error of each period that has one, in the order of time: [T]."""
    if not is_compared.any():
        return np.empty(0)
    position = period[is_compared] - period[is_compared].min()
    count = np.bincount(position)
    mean: Array = (np.bincount(position, errors[is_compared]) / np.maximum(count, 1))[count > 0]
    return mean


def _errors_by_series(backtest: HoldoutBacktest, forecast: Array) -> Array:
    """Mean absolute scaled error by series and period [S, T]; NaN where there is none."""
    errors = absolute_scaled_error(backtest.evaluation_set(forecast))
    period, is_known = _target_positions(backtest), ~np.isnan(errors)
    first = period.min()
    num_series = int(backtest.windows.series.max()) + 1
    num_periods = int(period[is_known].max()) - first + 1 if is_known.any() else 1
    series = np.broadcast_to(backtest.windows.series[:, None], errors.shape)
    cell = np.ravel_multi_index((series[is_known], period[is_known] - first), (num_series, num_periods))
    count = np.bincount(cell, minlength=num_series * num_periods)
    total = np.bincount(cell, errors[is_known], minlength=num_series * num_periods)
    mean: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan).reshape(num_series, num_periods)
    return mean
