"""What of a backtest is kept for people: its origins one by one, its residuals, and how often its quantiles held."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.evaluation import metrics
from pipeline.evaluation.holdout import HoldoutBacktest, skill
from pipeline.records.training import BacktestPath, BacktestRecord, LevelHits, OriginPath, ResidualsRecord
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: of the first series, as many origins as a chart can show; and as many points of a curve over all origins
MOST_ORIGINS, MOST_ENDS = 24, 200
#: levels of the residuals that are kept for each step
RESIDUAL_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
_FEWEST_BINS, _MOST_BINS = 5, 40
_LOWER_95, _LOWER_80, _, _UPPER_80, _UPPER_95 = range(len(LEVELS))


def backtest_record(backtest: HoldoutBacktest, panel: Panel, recipe: Recipe) -> BacktestRecord:
    """A backtest as the record of a training keeps it."""
    scores = backtest.scores()
    chosen = backtest.once & (backtest.windows.series == backtest.windows.series[0])
    ends = backtest.windows.end[chosen]
    positions = (ends[:, None] + 1 + np.arange(recipe.horizon)).ravel()
    inside = positions < len(panel.grid)
    path = BacktestPath(
        series=panel.series[backtest.windows.series[0]],
        periods=tuple(str(period) for period in panel.grid[positions[inside]]),
        observed=tuple(backtest.observed[chosen].ravel()[inside]),
        forecast={name: tuple(values[chosen].ravel()[inside]) for name, values in backtest.forecasts().items()},
    )
    return BacktestRecord(
        cutoff=str(panel.grid[backtest.windows.end.min()]),
        num_origins=len(np.unique(backtest.windows.end)),
        scores=scores,
        mae_by_step=backtest.mae_by_step(),
        path=path,
        skill=skill(scores, recipe.gate.baseline),
        **details_of(backtest, panel),
    )


def details_of(backtest: HoldoutBacktest, panel: Panel) -> dict[str, Any]:
    """The fields of a `BacktestRecord` that go beyond scores; what a large panel has too many of is thinned evenly."""
    ends = _thinned(np.unique(backtest.windows.end), MOST_ENDS)
    return {
        "num_apart": len(np.unique(backtest.windows.end[backtest.once])),
        "origins": _origins(backtest, panel),
        "ends": tuple(str(period) for period in panel.grid[ends]),
        "mase_by_origin": _mase_by_origin(backtest, ends),
        "hits": _hits(backtest),
        "coverage": _coverage(backtest),
        "residuals": _residuals(backtest),
    }


def _thinned(values: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """At most so many of them, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(np.int64)
    return values[places]


def _origins(backtest: HoldoutBacktest, panel: Panel) -> tuple[OriginPath, ...]:
    of_first = np.flatnonzero(backtest.windows.series == backtest.windows.series[0])
    return tuple(_origin(backtest, panel, n) for n in _thinned(of_first, MOST_ORIGINS).tolist())


def _origin(backtest: HoldoutBacktest, panel: Panel, n: int) -> OriginPath:
    end = int(backtest.windows.end[n])
    periods = panel.grid[end + 1 : end + 1 + backtest.observed.shape[1]]
    count = len(periods)
    bounds: dict[str, tuple[float, ...]] = {}
    if backtest.quantiles is not None:
        places = {"lower_80": _LOWER_80, "upper_80": _UPPER_80, "lower_95": _LOWER_95, "upper_95": _UPPER_95}
        bounds = {name: tuple(backtest.quantiles[n, :count, q].tolist()) for name, q in places.items()}
    return OriginPath(
        origin=str(panel.grid[end]),
        periods=tuple(str(period) for period in periods),
        forecast=tuple(backtest.forecast[n, :count].tolist()),
        **bounds,
    )


def _mase_by_origin(backtest: HoldoutBacktest, ends: npt.NDArray[np.int64]) -> dict[str, tuple[float, ...]]:
    rows = [np.flatnonzero(backtest.windows.end == end) for end in ends]
    return {
        method: tuple(metrics.mase(backtest.observed[at], made[at], backtest.mase_scale[at]) for at in rows)
        for method, made in backtest.forecasts().items()
    }


def _hits(backtest: HoldoutBacktest) -> tuple[LevelHits, ...]:
    """Over the origins one horizon apart, so that no observation counts twice."""
    if backtest.quantiles is None:
        return ()
    observed, quantiles = backtest.observed[backtest.once], backtest.quantiles[backtest.once]
    is_known = ~np.isnan(observed)
    num = int(is_known.sum())
    if num == 0:
        return ()
    below = [float((observed <= quantiles[:, :, q])[is_known].mean()) for q in range(len(LEVELS))]
    return tuple(LevelHits(level=level, share=share, num=num) for level, share in zip(LEVELS, below, strict=True))


def _coverage(backtest: HoldoutBacktest) -> dict[str, float]:
    if backtest.quantiles is None:
        return {}
    observed, quantiles = backtest.observed[backtest.once], backtest.quantiles[backtest.once]
    intervals = {"80": (_LOWER_80, _UPPER_80), "95": (_LOWER_95, _UPPER_95)}
    return {
        percent: metrics.coverage(observed, quantiles[:, :, low], quantiles[:, :, high])
        for percent, (low, high) in intervals.items()
    }


def _residuals(backtest: HoldoutBacktest) -> ResidualsRecord | None:
    """All origins count: what is shown is their spread, not how sure it is."""
    scale = np.where(backtest.mase_scale > 0, backtest.mase_scale, np.nan)
    scaled = backtest.residuals() / scale  # [N, H]
    known = scaled[np.isfinite(scaled)]
    if not known.size:
        return None
    bins = int(np.clip(np.sqrt(known.size), _FEWEST_BINS, _MOST_BINS))
    counts, edges = np.histogram(known, bins=bins)
    return ResidualsRecord(
        levels=RESIDUAL_LEVELS,
        by_step=tuple(_levels_of(scaled[:, h]) for h in range(scaled.shape[1])),
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
    )


def _levels_of(residuals: Array) -> tuple[float | None, ...]:
    known = residuals[np.isfinite(residuals)]
    return tuple(np.quantile(known, RESIDUAL_LEVELS).tolist()) if known.size else (None,) * len(RESIDUAL_LEVELS)
