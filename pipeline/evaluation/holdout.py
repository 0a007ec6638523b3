"""Backtest: what a forecaster would have said over a test part that it has not seen, and its scores."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import IsotonicRegression

from pipeline.evaluation import metrics
from pipeline.forecasting.baselines import naive, seasonal_naive
from pipeline.forecasting.calibration import Calibration, Outcomes, conformity_ratios, fit_calibration
from pipeline.forecasting.forecaster import IntervalWidths
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS, NETWORK
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldoutBacktest:
    """Forecasts from every origin of the test part, beside what was then observed."""

    windows: Windows
    context: Array  # [N, L], gaps filled
    observed: Array  # [N, H], NaN after the newest period
    forecast: Array  # [N, H]
    mase_scale: Array  # [N, 1], of each window's series, from its fitting part
    season: int
    #: [N, H, Q]; None where the network gives one number a step, and the intervals come from its errors
    quantiles: Array | None = None
    #: of the network's quantiles; none: it has none
    calibration: Calibration | None = None

    def take(self, chosen: npt.NDArray[np.bool_]) -> HoldoutBacktest:
        """From the chosen ones of its windows."""
        names = (
            "context",
            "observed",
            "forecast",
            "mase_scale",
            *(["quantiles"] if self.quantiles is not None else []),
        )
        return replace(self, windows=self.windows.take(chosen), **{name: getattr(self, name)[chosen] for name in names})

    @property
    def once(self) -> npt.NDArray[np.bool_]:
        """The origins one horizon apart from the first on: each test period is forecast once by them."""
        horizon = self.observed.shape[1]
        chosen: npt.NDArray[np.bool_] = (self.windows.end - self.windows.end.min()) % horizon == 0
        return chosen

    def forecasts(self) -> dict[str, Array]:
        """By method: the network's and the baselines' forecasts from the same origins."""
        horizon = self.observed.shape[1]
        return {
            NETWORK: self.forecast,
            "naive": naive(self.context, horizon),
            "seasonal-naive": seasonal_naive(self.context, horizon, self.season),
        }

    def scores(self) -> dict[str, dict[str, float]]:
        """By method and metric, over the origins one horizon apart."""
        chosen = self.once
        return {
            method: {
                "rmse": metrics.rmse(self.observed[chosen], forecast[chosen]),
                "mae": metrics.mae(self.observed[chosen], forecast[chosen]),
                "mase": metrics.mase(self.observed[chosen], forecast[chosen], self.mase_scale[chosen]),
                "smape": metrics.smape(self.observed[chosen], forecast[chosen]),
            }
            for method, forecast in self.forecasts().items()
        }

    def mae_by_step(self) -> dict[str, list[float]]:
        """By method, the mean absolute error of each step over all origins of the test part."""
        return {
            method: [metrics.mae(self.observed[:, h], forecast[:, h]) for h in range(self.observed.shape[1])]
            for method, forecast in self.forecasts().items()
        }

    def residuals(self) -> Array:
        """Observed minus forecast from all origins: [N, H], NaN where not observed."""
        return self.observed - self.forecast


def skill(scores: dict[str, dict[str, float]], baseline: str) -> float | None:
    """1 − MASE / MASE of the baseline: positive is better than it; None where that is undefined."""
    ours, theirs = scores[NETWORK]["mase"], scores[baseline]["mase"]
    return 1 - ours / theirs if np.isfinite(ours) and theirs > 0 else None


def mase_scales(panel: Panel, season: int) -> Array:
    """Of each series of the fitting part: its mean absolute seasonal difference, or one step where it is short."""
    scales = []
    for s in range(len(panel.series)):
        values = panel.series_values(s)
        lag = season if len(values) > season else 1
        scales.append(metrics.seasonal_scale(values, lag) if len(values) > lag else np.nan)
    return np.array(scales)


def calibration_of(windows: Windows, quantiles: Array, observed: Array) -> Calibration | None:
    """What the quantiles [N, H, Q] of N windows need, by what was then observed, [N, H]; None without anything observed.

    It only widens: the origins of one test part share their periods, and one lucky stretch is no reason for narrow
    intervals. What is published later may narrow them.
    """
    horizon = observed.shape[1]
    found = fit_calibration(
        Outcomes(
            origin=np.repeat(windows.end, horizon),
            step=np.tile(np.arange(1, horizon + 1), len(observed)),
            ratio=conformity_ratios(observed.ravel(), quantiles.reshape(-1, quantiles.shape[2])),
        ),
        horizon=horizon,
    )
    return found and replace(found, factors=np.maximum(found.factors, 1.0))


def spread_of(residuals: Array, scale: Array) -> IntervalWidths:
    """The width of symmetric intervals from residuals [N, H] of windows with scale [N, 1].

    Residuals in window scales get one size per step, never shrinking with the step (isotonic
    regression); pooled over the steps in units of that size, the finite-sample quantiles of their
    magnitudes are the widths, as in split conformal prediction (Lei et al. 2018, JASA 113).
    """
    relative = residuals / scale  # [N, H]
    count = (~np.isnan(relative)).sum(axis=0)
    size = np.sqrt(np.nansum(relative**2, axis=0) / np.maximum(count, 1))
    steps = np.arange(len(size))
    if not count.any():
        return IntervalWidths(by_step=np.zeros(len(size)), at_level=np.zeros(len(LEVELS)))
    fit = IsotonicRegression(out_of_bounds="clip").fit(
        steps[count > 0], size[count > 0], sample_weight=count[count > 0]
    )
    by_step = fit.predict(steps)
    magnitude = np.abs(relative) / np.where(by_step > 0, by_step, 1.0)
    pooled = np.sort(magnitude[~np.isnan(magnitude)])
    return IntervalWidths(by_step=by_step, at_level=np.array([_width(pooled, level) for level in LEVELS]))


def _width(sorted_magnitudes: Array, level: float) -> float:
    """Signed distance of one quantile level, in units of the step's size."""
    if level == 0.5:
        return 0.0
    n = len(sorted_magnitudes)
    rank = int(np.ceil((n + 1) * abs(2 * level - 1)))
    width = float(sorted_magnitudes[min(rank, n) - 1])
    return width if level > 0.5 else -width
