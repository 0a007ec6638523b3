"""A holdout backtest as the record of a training: scores, single origins, residuals and coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation.comparison import choose_baseline
from pipeline.evaluation.holdout import HoldoutBacktest, skill_score
from pipeline.evaluation.holdout_series import build_series_errors, compare_series
from pipeline.evaluation.metrics import COVERAGE_80, COVERAGE_95, MAE, MASE
from pipeline.records.training import BacktestPath, BacktestRecord, LevelHits, OriginPath, ResidualsRecord
from pipeline.timeseries.forecast import LEVELS, LOWER_80, LOWER_95, NETWORK, UPPER_80, UPPER_95
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: origins of one series that are kept: as many as a chart can show
MAX_ORIGINS = 24
#: points that are kept of a curve over all origins
MAX_ENDS = 200
#: levels of the residuals' quantiles that are kept for each step
RESIDUAL_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_MIN_BINS, _MAX_BINS = 5, 40


def build_backtest_record(backtest: HoldoutBacktest, panel: Panel, recipe: Recipe) -> BacktestRecord:
    """The record of a backtest on the test part of a panel, as it is stored with the training."""
    scores, baseline = backtest.scores(), choose_baseline(backtest, recipe.gate.baseline)
    errors = build_series_errors(backtest, panel, baseline)
    by_series = compare_series(backtest, panel, baseline, errors)
    worst = panel.series.index(by_series.series[0].series) if by_series.series else int(backtest.windows.series[0])
    return BacktestRecord(
        cutoff=str(panel.grid[backtest.windows.end.min()]),
        num_origins=len(np.unique(backtest.windows.end)),
        scores=scores,
        mae_by_step=backtest.errors_by_step(MAE),
        path=_path(backtest, panel, worst),
        skill=skill_score(scores, baseline),
        baseline=baseline,
        by_series=by_series,
        errors_by_series=errors,
        **build_backtest_details(backtest, panel, worst),
    )


def build_backtest_details(backtest: HoldoutBacktest, panel: Panel, series: int) -> dict[str, Any]:
    """The fields of a `BacktestRecord` beyond the scores, single origins of this series among them.

    Many origins are thinned evenly.
    """
    ends = _thin(np.unique(backtest.windows.end), MAX_ENDS)
    return {
        "num_apart": len(np.unique(backtest.windows.end[backtest.is_disjoint])),
        "origins": _origins(backtest, panel, series),
        "ends": tuple(str(period) for period in panel.grid[ends]),
        "mase_by_origin": _mase_by_origin(backtest, ends),
        "mase_by_step": backtest.errors_by_step(MASE),
        "hits": _hits(backtest),
        "coverage": _coverage(backtest),
        "residuals": _residuals(backtest),
    }


def _path(backtest: HoldoutBacktest, panel: Panel, series: int) -> BacktestPath:
    """Each test period of the series forecast once."""
    chosen = backtest.is_disjoint & (backtest.windows.series == series)
    horizon = backtest.observed.shape[1]
    positions = (backtest.windows.end[chosen][:, None] + 1 + np.arange(horizon)).ravel()
    is_inside = positions < len(panel.grid)
    return BacktestPath(
        series=panel.series[series],
        periods=tuple(str(period) for period in panel.grid[positions[is_inside]]),
        observed=tuple(backtest.observed[chosen].ravel()[is_inside]),
        forecast={name: tuple(values[chosen].ravel()[is_inside]) for name, values in backtest.forecasts().items()},
    )


def _thin(values: Indices, max_num: int) -> Indices:
    """At most so many values, evenly spaced, the first and the last among them."""
    kept = np.linspace(0, len(values) - 1, min(len(values), max_num)).round().astype(np.int64)
    return values[kept]


def _origins(backtest: HoldoutBacktest, panel: Panel, series: int) -> tuple[OriginPath, ...]:
    of_series = np.flatnonzero(backtest.windows.series == series)
    return tuple(_origin(backtest, panel, n) for n in _thin(of_series, MAX_ORIGINS).tolist())


def _origin(backtest: HoldoutBacktest, panel: Panel, n: int) -> OriginPath:
    """What was forecast in window n, up to the newest period."""
    end = int(backtest.windows.end[n])
    periods = panel.grid[end + 1 : end + 1 + backtest.observed.shape[1]]
    count = len(periods)
    bounds: dict[str, tuple[float, ...]] = {}
    if backtest.quantiles is not None:
        levels = {"lower_80": LOWER_80, "upper_80": UPPER_80, "lower_95": LOWER_95, "upper_95": UPPER_95}
        bounds = {name: tuple(backtest.quantiles[n, :count, q].tolist()) for name, q in levels.items()}
    return OriginPath(
        origin=str(panel.grid[end]),
        periods=tuple(str(period) for period in periods),
        forecast=tuple(backtest.forecast[n, :count].tolist()),
        **bounds,
    )


def _mase_by_origin(backtest: HoldoutBacktest, ends: Indices) -> dict[str, tuple[float, ...]]:
    rows_of_origin = [np.flatnonzero(backtest.windows.end == end) for end in ends]
    return {
        method: tuple(float(MASE.over(data.take(rows))) for rows in rows_of_origin)
        for method, data in backtest.evaluation_sets().items()
    }


def _hits(backtest: HoldoutBacktest) -> tuple[LevelHits, ...]:
    """How often observations lie at or below each quantile, over the origins one horizon apart: none counts twice."""
    if backtest.quantiles is None:
        return ()
    observed, quantiles = backtest.observed[backtest.is_disjoint], backtest.quantiles[backtest.is_disjoint]
    is_observed = ~np.isnan(observed)
    num = int(is_observed.sum())
    if num == 0:
        return ()
    shares = [float((observed <= quantiles[:, :, q])[is_observed].mean()) for q in range(len(LEVELS))]
    return tuple(LevelHits(level=level, share=share, num=num) for level, share in zip(LEVELS, shares, strict=True))


def _coverage(backtest: HoldoutBacktest) -> dict[str, float]:
    if backtest.quantiles is None:
        return {}
    data = backtest.evaluation_sets()[NETWORK].take(backtest.is_disjoint)
    return {"80": float(COVERAGE_80.over(data)), "95": float(COVERAGE_95.over(data))}


def _residuals(backtest: HoldoutBacktest) -> ResidualsRecord | None:
    """Over all origins, which overlap: the spread of the residuals is shown, not how certain it is."""
    scale = np.where(backtest.mase_scale > 0, backtest.mase_scale, np.nan)
    scaled = backtest.residuals() / scale  # [N, H]
    finite = scaled[np.isfinite(scaled)]
    if not finite.size:
        return None
    num_bins = int(np.clip(np.sqrt(finite.size), _MIN_BINS, _MAX_BINS))
    counts, edges = np.histogram(finite, bins=num_bins)
    return ResidualsRecord(
        levels=RESIDUAL_LEVELS,
        by_step=tuple(_residual_quantiles(scaled[:, h]) for h in range(scaled.shape[1])),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _residual_quantiles(residuals: Array) -> tuple[float | None, ...]:
    finite = residuals[np.isfinite(residuals)]
    return tuple(np.quantile(finite, RESIDUAL_LEVELS).tolist()) if finite.size else (None,) * len(RESIDUAL_LEVELS)
