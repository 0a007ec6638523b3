"""Score forecasts of small panels series by series, relative to the seasonal naive forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.metrics import METRICS, EvaluationSet, seasonal_scale
from pipeline.forecasting.baselines import forecast_naive, normal_quantiles
from pipeline.timeseries.forecast import MEDIAN
from pipeline.timeseries.panel import Panel
from tests.benchmarks.panel_draws import DrawnPanel

Array = npt.NDArray[np.float64]

#: errors that are counted relative to seasonal naive's
RELATIVE = ("mase", "sql")
#: what is averaged over the series as it is
ABSOLUTE = ("coverage_95", "coverage_80", "msis_95")
#: a smaller relative error counts as this: otherwise a forecast without any error would decide the mean
LEAST_RATIO = 0.01


def seasonal_naive_quantiles(panel: Panel, horizon: int, season: int) -> Array:
    """Return normal quantiles around the seasonal naive forecast: [S, H, Q]."""
    forecast = forecast_naive(panel, horizon, season)
    return normal_quantiles(forecast.mean, forecast.deviation)


def score_series(quantiles: Array, drawn: DrawnPanel, season: int) -> dict[str, Array]:
    """Return each score of each series [S]: relative errors, shares inside the intervals, MSIS.

    MASE judges the median. The scale is that of MASE: the mean absolute seasonal difference of the history. NaN where
    the scale, or the error of the seasonal naive forecast, is not above 0.

    Args:
        quantiles: of the forecast, [S, H, Q].
        drawn: the panel and the values after it.
        season: periods in a season.
    """
    horizon = drawn.observed.shape[1]
    own = measure_series(quantiles, drawn, season)
    naive = measure_series(seasonal_naive_quantiles(drawn.panel, horizon, season), drawn, season)
    ratios = {name: _divide(own[name], naive[name]) for name in RELATIVE}
    return {**ratios, **{name: own[name] for name in ABSOLUTE}}


def measure_series(
    quantiles: Array, drawn: DrawnPanel, season: int, names: Sequence[str] = (*RELATIVE, *ABSOLUTE)
) -> dict[str, Array]:
    """Return metrics of each series [S] of forecasts [S, H, Q], by their names."""
    panel = drawn.panel
    scale = np.array([[seasonal_scale(panel.series_values(s), season)] for s in range(len(panel.series))])
    data = EvaluationSet(
        observed=drawn.observed, mean=quantiles[:, :, MEDIAN], quantiles=quantiles, scale=scale, root_scale=scale
    )
    return {name: METRICS[name].over(data, axis=(1,)) for name in names}


def _divide(own: Array, naive: Array) -> Array:
    """Ratios [S] of at least `LEAST_RATIO`; NaN where the divisor is not above 0."""
    ratio = own / np.where(naive > 0, naive, np.nan)
    return np.maximum(ratio, LEAST_RATIO)


def average(scores: Mapping[str, Array]) -> dict[str, float]:
    """Average over the series: the geometric mean of relative errors, the mean of the others; NaN of nothing."""
    relative = {name: float(np.exp(_mean(np.log(scores[name])))) for name in RELATIVE}
    return {**relative, **{name: _mean(scores[name]) for name in ABSOLUTE}}


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
