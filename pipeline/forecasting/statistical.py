"""Classical methods beside a backtest: AutoETS, AutoARIMA and Theta of statsforecast, a series at a time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InvalidArgument
from pipeline.forecasting.baselines import normal_quantiles, repeated
from pipeline.timeseries.panel import Panel

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

#: by the name that a backtest shows
METHODS = {"auto-ets": "AutoETS", "auto-arima": "AutoARIMA", "theta": "Theta"}
#: keys of statsforecast's forecasts, in the order of the quantile levels
_QUANTILES = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


def require_classical() -> None:
    """Whether the library is there.

    Raises:
        InvalidArgument: it is not installed.
    """
    if find_spec("statsforecast") is None:
        raise InvalidArgument(
            "--classical needs statsforecast, which is not installed: pip install nextperiod[classical]"
        )


def classical_quantiles(panel: Panel, horizon: int, season: int) -> Mapping[str, Array]:
    """What each method says from the panel's origin on: quantiles [S, H, Q], whose median is the mean.

    Gaps are interpolated. A series without a value at the origin, and one that a method cannot be fitted on, is
    forecast as by the seasonal naive method.
    """
    from statsforecast import models

    stands_in = repeated(panel, horizon, season)
    instead = normal_quantiles(stands_in.mean, stands_in.deviation)
    at_origin = np.flatnonzero(panel.last == len(panel.grid) - 1)
    told = {}
    for name, model in METHODS.items():
        quantiles, failed = instead.copy(), len(panel.series) - len(at_origin)
        for s in at_origin.tolist():
            made = _forecast(getattr(models, model)(season_length=season), _without_gaps(panel.of(s)), horizon)
            if made is None:
                failed += 1
            else:
                quantiles[s] = made
        if failed:
            logger.info("%s stands on the seasonal naive forecast for %s of %s series", name, failed, len(panel.series))
        told[name] = quantiles
    return told


def _forecast(model: Any, values: Array, horizon: int) -> Array | None:
    """Quantiles [H, Q]; None where the method has no finite ones."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            told = model.forecast(y=values, h=horizon, level=[80, 95])
    except Exception as error:  # a library's methods end in many ways on a series that does not suit them
        logger.debug("%s: %s", type(model).__name__, error)
        return None
    quantiles = np.stack([np.asarray(told[key], np.float64) for key in _QUANTILES], axis=1)
    return np.sort(quantiles, axis=1) if np.isfinite(quantiles).all() else None


def _without_gaps(values: Array) -> Array:
    known = ~np.isnan(values)
    place = np.arange(len(values))
    return np.interp(place, place[known], values[known])
