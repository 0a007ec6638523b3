"""A holdout backtest by series: the network beside a baseline, from the worst series to the best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.holdout import HOLDOUT_METRICS, HoldoutBacktest
from pipeline.evaluation.metrics import COVERAGE_80, COVERAGE_95, MAE, MASE, EvaluationSet, Metric
from pipeline.forecasting.baselines import forecast_baseline
from pipeline.records.training import SeriesBacktest, SeriesComparison, SeriesErrors
from pipeline.timeseries.forecast import NETWORK
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: series that are kept of a large panel
MAX_SERIES = 1000
#: numbers that are kept of their forecasts; of a long test part the newest periods
MAX_NUMBERS = 100_000
_SIGNIFICANT_DIGITS = 6


def compare_series(backtest: HoldoutBacktest, panel: Panel, baseline: str) -> SeriesComparison:
    """Compare the network with the baseline on each series, over the origins one horizon apart.

    The worst series has the largest ratio of the network's MASE to the baseline's. Series without a ratio come last.
    """
    apart = backtest.take(backtest.is_disjoint)
    series, first_row, place = np.unique(apart.windows.series, return_index=True, return_inverse=True)
    scale = apart.mase_scale[first_row]  # [S, 1]
    observed = _by_series(apart, place, apart.observed)  # [S, P]
    horizon = apart.observed.shape[1]
    forecasts = (apart.forecast, forecast_baseline(baseline, apart.context, horizon=horizon, season=apart.season))
    ours, theirs = (_by_series(apart, place, forecast) for forecast in forecasts)
    mase, baseline_mase = (MASE.over(EvaluationSet.of_points(observed, mean, scale), (1,)) for mean in (ours, theirs))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = mase / baseline_mase  # [S]
    kept = np.argsort(-ratio, kind="stable")[:MAX_SERIES]
    coverage = _coverage(apart, place, observed, kept)
    periods = panel.grid[int(apart.windows.end.min()) + 1 :][: observed.shape[1]]
    shown = slice(max(len(periods) - MAX_NUMBERS // (2 * len(kept)), 0), len(periods))
    return SeriesComparison(
        periods=tuple(str(period) for period in periods[shown]),
        series=tuple(
            SeriesBacktest(
                series=panel.series[series[s]],
                mase=_rounded(mase[s]),
                baseline_mase=_rounded(baseline_mase[s]),
                coverage={percent: _rounded(share[n]) for percent, share in coverage.items()},
                forecast=tuple(map(_rounded, ours[s, shown])),
                baseline=tuple(map(_rounded, theirs[s, shown])),
            )
            for n, s in enumerate(kept)
        ),
        num_compared=int(np.isfinite(baseline_mase + mase).sum()),
        num_better=int((mase < baseline_mase).sum()),
    )


def _by_series(apart: HoldoutBacktest, place: Indices, values: Array) -> Array:
    """Values [N, H, ...] of origins one horizon apart, one after the other: [S, P, ...], NaN where there is no window."""
    block = (apart.windows.end - apart.windows.end.min()) // values.shape[1]
    by_series = np.full((place.max() + 1, block.max() + 1, *values.shape[1:]), np.nan)
    by_series[place, block] = values
    return by_series.reshape(len(by_series), -1, *values.shape[2:])


def _coverage(apart: HoldoutBacktest, place: Indices, observed: Array, kept: Indices) -> dict[str, Array]:
    """By percent, the share of each kept series' observations inside the interval: [K]."""
    if apart.quantiles is None:
        return {}
    points = EvaluationSet.of_points(observed[kept], observed[kept])
    data = replace(points, quantiles=_by_series(apart, place, apart.quantiles)[kept])
    return {"80": COVERAGE_80.over(data, (1,)), "95": COVERAGE_95.over(data, (1,))}


def _rounded(value: np.floating[Any]) -> float | None:
    return float(f"{value:.{_SIGNIFICANT_DIGITS}g}") if np.isfinite(value) else None


def build_series_errors(backtest: HoldoutBacktest, panel: Panel, baseline: str) -> SeriesErrors:
    """The errors of the network and of a baseline by series, over the origins one horizon apart."""
    apart = backtest.take(backtest.is_disjoint)
    sets, num_series = apart.evaluation_sets(), len(panel.series)
    num_scored = np.bincount(apart.windows.series, _is_measured(MAE, sets[NETWORK]).sum(axis=1), num_series)
    scored = np.flatnonzero(num_scored)

    def by_series(metric: Metric, method: str) -> tuple[float, ...]:
        return tuple(_over_series(metric, sets[method], apart.windows.series, num_series)[scored].tolist())

    return SeriesErrors(
        series=tuple(panel.series[s] for s in scored.tolist()),
        num_scored=tuple(num_scored[scored].astype(int).tolist()),
        **{name: by_series(metric, NETWORK) for name, metric in HOLDOUT_METRICS.items()},
        baseline_mae=by_series(MAE, baseline),
        baseline_mase=by_series(MASE, baseline),
    )


def _over_series(metric: Metric, data: EvaluationSet, series: Indices, num_series: int) -> Array:
    """A metric without weights over the windows [N] of each series: [S], NaN where nothing can be measured."""
    is_measured = _is_measured(metric, data)
    total = np.bincount(series, np.where(is_measured, metric.of_entry(data), 0.0).sum(axis=1), num_series)
    count = np.bincount(series, is_measured.sum(axis=1), num_series)
    mean = total / np.where(count > 0, count, np.nan)
    return np.sqrt(mean) if metric.is_root else mean


def _is_measured(metric: Metric, data: EvaluationSet) -> npt.NDArray[np.bool_]:
    is_measured: npt.NDArray[np.bool_] = ~np.isnan(metric.of_entry(data))
    return is_measured
