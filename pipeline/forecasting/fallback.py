"""What is published for each series: the network's forecast, calibrated and bounded, or a baseline with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.forecasting.baselines import forecast_naive, normal_quantiles
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.forecaster import Forecaster
from pipeline.preprocessing.missing_covariates import find_missing_covariates
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

#: a forecast further from the last value than this many ranges of the context is not published
MAX_RANGES_AWAY = 10.0
_NOT_FINITE = "the network's forecast is not finite"
_TOO_FAR = f"the network's forecast is more than {MAX_RANGES_AWAY:g} ranges away from the context"


def forecast_panel(
    forecaster: Forecaster,
    panel: Panel,
    recipe: Recipe,
    calibration: Calibration | None = None,
    *,
    worse: Mapping[str, str] = MappingProxyType({}),
) -> Forecast:
    """Forecast every series of the panel from its origin, by the network or by a baseline that stands in.

    A series falls back to the seasonal naive forecast, or to its last value where it has fewer values than two
    seasons, for one of these reasons, the first that applies:

    1. it lacks what the network needs at the origin;
    2. the network's forecast is not finite;
    3. the network's forecast is more than `MAX_RANGES_AWAY` ranges of the context away from its last value;
    4. the network has forecast it worse than the baseline;
    5. a covariate is not known ahead: from the first step on for which it is not, unless the recipe carries it forward.

    The network's quantiles are calibrated, a baseline's have their own width. Both are then clipped to the recipe's bounds.

    Args:
        forecaster: the network with its scaling and covariates.
        panel: up to the origin.
        recipe: its horizon, season, bounds and baseline.
        calibration: of the network's quantiles; None: they are published as they are.
        worse: by name, why a series is forecast by the baseline although the network could.
    """
    stand_in = forecast_naive(panel, recipe.horizon, recipe.season)
    series, network_mean, network_quantiles = forecaster.predict(panel)  # [N], [N, H], [N, H, Q]
    reasons: list[str | None] = [forecaster.requirement_text] * len(panel.series)
    implausible = _implausible_reasons(panel, forecaster.needs.context, series, network_mean, network_quantiles)
    for s, reason in zip(series.tolist(), implausible, strict=True):
        reasons[s] = reason or worse.get(panel.series[s])

    is_published = np.array([reasons[s] is None for s in series.tolist()], bool)  # [N]
    published = series[is_published]
    calibrated = network_quantiles[is_published]
    if calibration is not None:
        calibrated = calibration.apply(calibrated)
    mean, quantiles = stand_in.mean.copy(), normal_quantiles(stand_in.mean, stand_in.deviation)
    num_steps = np.zeros(len(panel.series), np.int64)  # that the network makes, [S]
    num_steps[published] = recipe.horizon
    if (missing := find_missing_covariates(panel, recipe)) is not None:
        for s in published[missing.num_known_steps[published] < recipe.horizon].tolist():
            reasons[s] = _reason_of_missing(missing.reasons[s], recipe)
        if not recipe.covariates.carries_forward:
            num_steps = np.minimum(num_steps, missing.num_known_steps)
    is_network = (np.arange(recipe.horizon) < num_steps[:, None])[published]  # [n, H]
    mean[published] = np.where(is_network, network_mean[is_published], mean[published])
    quantiles[published] = np.where(is_network[:, :, None], calibrated, quantiles[published])

    low, high = recipe.publish.minimum, recipe.publish.maximum
    is_seasonal = recipe.gate.baseline == "seasonal-naive"
    return Forecast(
        series=panel.series,
        origin=panel.origin,
        periods=recipe.grid.after(panel.origin, recipe.horizon),
        mean=np.clip(mean, low, high),
        quantiles=np.clip(quantiles, low, high),
        method=tuple(
            NETWORK if steps == recipe.horizon else f"fallback:{name}"
            for steps, name in zip(num_steps.tolist(), stand_in.method, strict=True)
        ),
        reason=tuple(reasons),
        network_steps=tuple((num_steps % recipe.horizon).tolist()),
        baseline=stand_in.mean if is_seasonal else forecast_naive(panel, recipe.horizon, 1).mean,
        scale=stand_in.scale,
    )


def _reason_of_missing(reason: str | None, recipe: Recipe) -> str | None:
    """What is published about a covariate that is not known; recipes from before the key `missing` published nothing."""
    if recipe.covariates.missing is None:
        return None
    return f"{reason}: the last value is carried forward" if recipe.covariates.carries_forward else reason


def _implausible_reasons(
    panel: Panel, context: int, series: Indices, mean: Array, quantiles: Array
) -> list[str | None]:
    """Why each of the network's forecasts cannot be published: [N]; None where it can.

    Args:
        panel: that was forecast.
        context: L, periods that the network reads.
        series: which series were forecast, [N].
        mean: [N, H].
        quantiles: [N, H, Q].
    """
    is_finite = np.isfinite(mean).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
    value_range, last = _range_and_last(panel, series, context)
    is_near = np.abs(mean - last[:, None]).max(axis=1, initial=0.0) <= MAX_RANGES_AWAY * value_range
    reasons = np.full(len(series), None, dtype=object)
    reasons[~is_near] = _TOO_FAR
    reasons[~is_finite] = _NOT_FINITE
    return list(reasons)


def _range_and_last(panel: Panel, series: Indices, length: int) -> tuple[Array, Array]:
    """The range of the last `length` values of some series, and their last values: [N] each.

    The range of a constant context is the size of its value, at least 1.
    """
    if not len(series):
        return np.empty(0), np.empty(0)
    end = panel.offsets[series + 1]
    start = np.maximum(end - length, panel.offsets[series])
    bounds = np.stack([start, end], axis=1).ravel()
    values = np.append(panel.values, np.nan)  # reduceat needs a value at every bound, the last end included
    highest, lowest = np.fmax.reduceat(values, bounds)[::2], np.fmin.reduceat(values, bounds)[::2]
    last = panel.values[end - 1]
    value_range = highest - lowest
    return np.where(value_range > 0, value_range, np.maximum(np.abs(last), 1.0)), last
