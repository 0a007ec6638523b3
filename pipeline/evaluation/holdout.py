"""Backtest on a test part that a network was not fitted on: scores and interval widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from pipeline.evaluation.metrics import MAE, MASE, RMSE, SMAPE, EvaluationSet, Metric, seasonal_scale
from pipeline.forecasting.baselines import BASELINES, forecast_baseline
from pipeline.forecasting.calibration import FULL_WEIGHT, Calibration
from pipeline.forecasting.forecaster import IntervalWidths
from pipeline.forecasting.series_scale import SeriesErrors, measure_series
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS, NETWORK
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: the metrics of a training's record, by name
HOLDOUT_METRICS = {"rmse": RMSE, "mae": MAE, "mase": MASE, "smape": SMAPE}


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldoutBacktest:
    """Forecasts of N windows, one for each series and origin of the test part, next to what was observed."""

    windows: Windows
    context: Array  # [N, L], NaN in gaps, which it does not end with
    observed: Array  # [N, H], NaN where nothing is observed, as after the newest period
    forecast: Array  # [N, H], as published: the network's, or a baseline's where covariates are not known ahead
    mase_scale: Array  # [N, 1], of each window's series, from its fitting part
    season: int
    #: the network's own [N, H], of which intervals are made; None: all of `forecast` is
    own_forecast: Array | None = None
    #: [N, H, Q]; None: the network gives one number a step, and the intervals come from its errors
    quantiles: Array | None = None
    #: of the quantiles; None: there are none
    calibration: Calibration | None = None

    def take(self, chosen: npt.NDArray[np.bool_]) -> HoldoutBacktest:
        """Select windows by a mask [N]."""
        return replace(
            self,
            windows=self.windows.take(chosen),
            context=self.context[chosen],
            observed=self.observed[chosen],
            forecast=self.forecast[chosen],
            own_forecast=None if self.own_forecast is None else self.own_forecast[chosen],
            mase_scale=self.mase_scale[chosen],
            quantiles=None if self.quantiles is None else self.quantiles[chosen],
        )

    @property
    def is_disjoint(self) -> npt.NDArray[np.bool_]:
        """The windows [N] whose origins lie a multiple of H after the first: each test period is forecast once by them."""
        horizon = self.observed.shape[1]
        chosen: npt.NDArray[np.bool_] = (self.windows.end - self.windows.end.min()) % horizon == 0
        return chosen

    def forecasts(self) -> dict[str, Array]:
        """Forecasts [N, H] of the network and of the baselines from the same origins, by method."""
        horizon = self.observed.shape[1]
        baselines = {
            name: forecast_baseline(name, self.context, horizon=horizon, season=self.season) for name in BASELINES
        }
        return {NETWORK: self.forecast, **baselines}

    def evaluation_sets(self) -> dict[str, EvaluationSet]:
        """What `pipeline.evaluation.metrics` scores, by method; only the network's has quantiles."""
        sets = {name: self.evaluation_set(mean) for name, mean in self.forecasts().items()}
        if self.quantiles is not None:
            sets[NETWORK] = replace(sets[NETWORK], quantiles=self.quantiles)
        return sets

    def evaluation_set(self, mean: Array) -> EvaluationSet:
        """The same of forecasts [N, H] from the same origins."""
        return EvaluationSet.of_points(self.observed, mean, self.mase_scale)

    def scores(self) -> dict[str, dict[str, float]]:
        """By method and metric, over the origins one horizon apart; NaN where nothing can be measured."""
        disjoint = {method: data.take(self.is_disjoint) for method, data in self.evaluation_sets().items()}
        return {
            method: {name: float(metric.over(data)) for name, metric in HOLDOUT_METRICS.items()}
            for method, data in disjoint.items()
        }

    def errors_by_step(self, metric: Metric) -> dict[str, list[float]]:
        """The metric of each of the H steps over all origins of the test part, by method."""
        return {method: metric.over(data, (0,)).tolist() for method, data in self.evaluation_sets().items()}

    @property
    def network_forecast(self) -> Array:
        """The network's own forecasts [N, H], also of steps for which a baseline's are published."""
        return self.forecast if self.own_forecast is None else self.own_forecast

    def residuals(self) -> Array:
        """Observed minus the network's own forecast from all origins: [N, H], NaN where not observed."""
        return self.observed - self.network_forecast


def skill_score(scores: dict[str, dict[str, float]], baseline: str) -> float | None:
    """1 - MASE / MASE of the baseline: above 0 where the network is better; None where that is undefined."""
    ours, theirs = scores[NETWORK]["mase"], scores[baseline]["mase"]
    return 1 - ours / theirs if np.isfinite(ours) and theirs > 0 else None


def seasonal_scales(panel: Panel, season: int) -> Array:
    """The unit of MASE of each series: [S]. Give it the fitting part only.

    The mean absolute seasonal difference; from period to period where a series is not longer than a season; NaN for a
    series of one value.
    """
    scales = []
    for s in range(len(panel.series)):
        values = panel.series_values(s)
        lag = season if len(values) > season else 1
        scales.append(seasonal_scale(values, lag) if len(values) > lag else np.nan)
    return np.array(scales)


def fit_interval_widths(residuals: Array, scale: Array, windows: Windows | None = None) -> IntervalWidths:
    """Symmetric intervals from the residuals of past forecasts, without those of misfits.

    The root mean square of the scaled residuals of each step is made non-decreasing over the steps (isotonic
    regression). Residuals divided by it are pooled over the steps. The finite-sample quantiles of their magnitudes are
    the widths, as in split conformal prediction (Lei et al. 2018, JASA 113).

    Args:
        residuals: observed minus forecast, [N, H], NaN where not observed.
        scale: of each window, [N, 1].
        windows: N windows, by whose series misfits are found; None: there are none.
    """
    scaled = residuals / scale  # [N, H]
    if windows is not None and len(windows):
        is_misfit = _measure_errors(windows, scaled).are_misfits()
        scaled = scaled[~is_misfit[windows.series]]
    count = (~np.isnan(scaled)).sum(axis=0)  # [H]
    root_mean_square = np.sqrt(np.nansum(scaled**2, axis=0) / np.maximum(count, 1))
    if not count.any():
        return IntervalWidths(by_step=np.zeros(len(count)), at_level=np.zeros(len(LEVELS)))
    observed_steps = np.flatnonzero(count)
    fitted = isotonic_regression(root_mean_square[observed_steps], weights=count[observed_steps]).x
    by_step = np.interp(np.arange(len(count)), observed_steps, fitted)  # the others lie between their neighbours
    magnitude = np.abs(scaled) / np.where(by_step > 0, by_step, 1.0)
    pooled = np.sort(magnitude[~np.isnan(magnitude)])
    return IntervalWidths(by_step=by_step, at_level=np.array([_signed_width(pooled, level) for level in LEVELS]))


def fit_series_widths(
    windows: Windows, residuals: Array, scale: Array, widths: IntervalWidths, names: Sequence[str]
) -> Calibration | None:
    """What widens the intervals of series whose errors are larger than usual; None where no series is among others.

    Args:
        windows: N windows of the test part.
        residuals: observed minus forecast, [N, H], NaN where not observed.
        scale: of each window, [N, 1].
        widths: of all series.
        names: of all series.
    """
    if len(np.unique(windows.series)) < 2:
        return None
    errors = _measure_errors(windows, residuals / scale / np.where(widths.by_step > 0, widths.by_step, 1.0))
    multipliers = errors.multipliers(np.ones(len(errors.log_size)), FULL_WEIGHT)
    series = {names[s]: round(float(multipliers[s]), 3) for s in np.flatnonzero(multipliers > 1.0).tolist()}
    return Calibration(factors=np.ones((residuals.shape[1], len(LEVELS))), series=series)


def _measure_errors(windows: Windows, scaled: Array) -> SeriesErrors:
    """The typical size of scaled residuals [N, H] by series; those of step h count 1 / h."""
    horizon = scaled.shape[1]
    return measure_series(
        np.repeat(windows.series, horizon),
        np.repeat(windows.end, horizon),
        np.abs(scaled).ravel(),
        np.tile(1 / np.arange(1, horizon + 1), len(scaled)),
    )


def _signed_width(sorted_magnitudes: Array, level: float) -> float:
    """Distance of a quantile level from the mean in units of the step's size, below 0 for a level below the median.

    The magnitude of rank (n + 1) p for an interval of probability p = |2 level - 1|, or the largest one.
    """
    if level == 0.5:
        return 0.0
    num = len(sorted_magnitudes)
    rank = int(np.ceil((num + 1) * abs(2 * level - 1)))
    width = float(sorted_magnitudes[min(rank, num) - 1])
    return width if level > 0.5 else -width
