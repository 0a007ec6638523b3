"""What may go out: the network's forecast, bounded, and a baseline where the network has none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.forecasting.baselines import normal_quantiles, repeated
from pipeline.forecasting.calibration import Calibration
from pipeline.forecasting.forecaster import Forecaster
from pipeline.timeseries.forecast import NETWORK, Forecast
from pipeline.timeseries.panel import Panel

Array = npt.NDArray[np.float64]

#: a forecast further from the context than this many of its ranges is not believed
BELIEVABLE = 10.0
_NOT_FINITE = "the network's forecast is not finite"
_NOT_NEAR = f"the network's forecast is more than {BELIEVABLE:g} ranges away from the context"


def forecast_panel(
    forecaster: Forecaster,
    panel: Panel,
    recipe: Recipe,
    calibration: Calibration | None = None,
    *,
    worse: Mapping[str, str] = MappingProxyType({}),
) -> Forecast:
    """Every series of the panel, by the network or, with the reason, by the next that can.

    A series falls back to the seasonal naive forecast, or to its last value where it has fewer values than
    two seasons, if it lacks what the network needs at the origin or the network's numbers are not to be believed, or if
    the network forecasts it worse: `worse` has the reason by name.
    The network's intervals are calibrated, a fallback's are its own; then both are bounded.
    """
    origin, horizon = panel.origin, recipe.horizon
    stands_in = repeated(panel, horizon, recipe.season)
    mean = stands_in.mean.copy()
    quantiles = normal_quantiles(mean, stands_in.deviation)
    reason: list[str | None] = [forecaster.requirement_text] * len(panel.series)

    forecast, means, spreads = forecaster.predict(panel)
    span, last = _span_and_last(panel, forecast, forecaster.needs.context)
    is_finite = np.asarray(np.isfinite(means).all(axis=1) & np.isfinite(spreads).all(axis=(1, 2)))
    is_near = np.abs(means - last[:, None]).max(axis=1, initial=0.0) <= BELIEVABLE * span
    for n, s in enumerate(forecast.tolist()):
        why = None if is_finite[n] and is_near[n] else _NOT_NEAR if is_finite[n] else _NOT_FINITE
        reason[s] = why or worse.get(panel.series[s])
    believed = np.array([reason[s] is None for s in forecast.tolist()], bool)
    ours = spreads[believed] if calibration is None else calibration.apply(spreads[believed])
    mean[forecast[believed]], quantiles[forecast[believed]] = means[believed], ours
    method = tuple(
        NETWORK if why is None else f"fallback:{name}" for why, name in zip(reason, stands_in.method, strict=True)
    )
    low, high = recipe.publish.minimum, recipe.publish.maximum
    return Forecast(
        series=panel.series,
        origin=origin,
        periods=recipe.grid.after(origin, horizon),
        mean=np.clip(mean, low, high),
        quantiles=np.clip(quantiles, low, high),
        method=method,
        reason=tuple(reason),
        baseline=stands_in.mean if recipe.gate.baseline == "seasonal-naive" else repeated(panel, horizon, 1).mean,
        scale=stands_in.scale,
    )


def _span_and_last(panel: Panel, series: npt.NDArray[np.int64], length: int) -> tuple[Array, Array]:
    """Of the last `length` values of some series the range, or where that is 0 the size, and the last value: [N] each."""
    end = panel.offsets[series + 1]
    if not len(series):
        return np.empty(0), np.empty(0)
    begin_and_end = np.stack([np.maximum(end - length, panel.offsets[series]), end], axis=1).ravel()
    values = np.append(panel.values, np.nan)  # what ends with the last value has an end too
    highest, lowest = (each.reduceat(values, begin_and_end)[::2] for each in (np.fmax, np.fmin))
    last = panel.values[end - 1]
    span = highest - lowest
    return np.where(span > 0, span, np.maximum(np.abs(last), 1.0)), last
