"""A holdout backtest by series: the network beside a baseline, from the worst series to the best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.holdout import HoldoutBacktest
from pipeline.evaluation.metrics import COVERAGE_80, COVERAGE_95, MASE, EvaluationSet
from pipeline.forecasting.baselines import forecast_baseline
from pipeline.records.training import SeriesBacktest, SeriesComparison
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
