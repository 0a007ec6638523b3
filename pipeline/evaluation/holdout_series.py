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


def compare_series(backtest: HoldoutBacktest, panel: Panel, baseline: str, errors: SeriesErrors) -> SeriesComparison:
    """Compare the network with the baseline on each series, over the origins one horizon apart.

    The worst series has the largest ratio of the network's MASE to the baseline's. Series without a ratio come last.
    The errors are those of `build_series_errors`.
    """
    if not errors.series:
        return SeriesComparison(periods=(), series=(), num_compared=0, num_better=0)
    mase, baseline_mase = (np.array(values, float) for values in (errors.mase, errors.baseline_mase))  # [S]
    with np.errstate(divide="ignore", invalid="ignore"):
        worst_first = np.argsort(-mase / baseline_mase, kind="stable")[:MAX_SERIES]
    position = {name: s for s, name in enumerate(panel.series)}
    kept = np.array([position[errors.series[n]] for n in worst_first], dtype=np.int64)  # [K]
    apart = backtest.take(backtest.is_disjoint)
    observed, ours, theirs = (
        _by_series(apart, kept, values)
        for values in (apart.observed, apart.forecast, _forecast_baseline(baseline, apart))
    )  # [K, P]
    coverage = _coverage(apart, kept, observed)
    periods = panel.grid[int(apart.windows.end.min()) + 1 :][: observed.shape[1]]
    shown = slice(max(len(periods) - MAX_NUMBERS // (2 * len(kept)), 0), len(periods))
    return SeriesComparison(
        periods=tuple(str(period) for period in periods[shown]),
        series=tuple(
            SeriesBacktest(
                series=errors.series[n],
                mase=_rounded(mase[n]),
                baseline_mase=_rounded(baseline_mase[n]),
                coverage={percent: _rounded(share[k]) for percent, share in coverage.items()},
                forecast=tuple(map(_rounded, ours[k, shown])),
                baseline=tuple(map(_rounded, theirs[k, shown])),
            )
            for k, n in enumerate(worst_first)
        ),
        num_compared=int(np.isfinite(baseline_mase + mase).sum()),
        num_better=int((mase < baseline_mase).sum()),
    )


def _forecast_baseline(baseline: str, apart: HoldoutBacktest) -> Array:
    return forecast_baseline(baseline, apart.context, horizon=apart.observed.shape[1], season=apart.season)


def _by_series(apart: HoldoutBacktest, kept: Indices, values: Array) -> Array:
    """Values [N, H, ...] of the kept series [K], their origins one after the other: [K, P, ...], NaN without a window."""
    series, end = apart.windows.series, apart.windows.end
    place = np.full(int(series.max()) + 1, -1)
    place[kept] = np.arange(len(kept))
    rows = np.flatnonzero(place[series] >= 0)
    block = (end - end.min()) // values.shape[1]  # [N]
    by_series = np.full((len(kept), int(block.max()) + 1, *values.shape[1:]), np.nan)
    by_series[place[series[rows]], block[rows]] = values[rows]
    return by_series.reshape(len(kept), -1, *values.shape[2:])


def _coverage(apart: HoldoutBacktest, kept: Indices, observed: Array) -> dict[str, Array]:
    """By percent, the share of each kept series' observations inside the interval: [K]."""
    if apart.quantiles is None:
        return {}
    points = EvaluationSet.of_points(observed, observed)
    data = replace(points, quantiles=_by_series(apart, kept, apart.quantiles))
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
