"""Statistical methods to compare a backtest with: AutoETS, AutoARIMA and Theta of statsforecast, series by series.

An optional extra: statsforecast is imported only where it is used.

- AutoETS: exponential smoothing in state space form, Hyndman, Koehler, Snyder and Grose (2002), IJF 18(3);
- AutoARIMA: Hyndman and Khandakar (2008), Journal of Statistical Software 27(3);
- Theta: Assimakopoulos and Nikolopoulos (2000), IJF 16(4).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import InvalidArgument
from pipeline.forecasting.baselines import forecast_naive
from pipeline.timeseries.panel import Panel

logger = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

#: the class in statsforecast.models by the name that a backtest shows
METHODS = {"auto-ets": "AutoETS", "auto-arima": "AutoARIMA", "theta": "Theta"}
#: keys of statsforecast's forecasts, in the order of the quantile levels
_QUANTILE_KEYS = ("lo-95", "lo-80", "mean", "hi-80", "hi-95")


def require_statsforecast() -> None:
    """Check that the library is installed.

    Raises:
        InvalidArgument: it is not.
    """
    if find_spec("statsforecast") is None:
        raise InvalidArgument(
            "--classical needs statsforecast, which is not installed: pip install nextperiod[classical]"
        )


def forecast_statistical(panel: Panel, horizon: int, season: int) -> Mapping[str, Array]:
    """Quantiles [S, H, Q] of each method from the panel's origin on, by the method's name; the median is the mean.

    Gaps are interpolated. A series without a value at the origin, or that a method cannot be fitted to, gets the seasonal
    naive forecast.
    """
    from statsforecast import models

    stand_in = forecast_naive(panel, horizon, season)
    at_origin = np.flatnonzero(panel.last == len(panel.grid) - 1)
    by_method = {}
    for name, class_name in METHODS.items():
        quantiles, num_failed = stand_in.quantiles, len(panel.series) - len(at_origin)
        for s in at_origin.tolist():
            model = getattr(models, class_name)(season_length=season)
            forecast = _forecast_series(model, _interpolate_gaps(panel.series_values(s)), horizon)
            if forecast is None:
                num_failed += 1
            else:
                quantiles[s] = forecast
        if num_failed:
            logger.info("%s used the seasonal naive forecast for %s of %s series", name, num_failed, len(panel.series))
        by_method[name] = quantiles
    return by_method


def _forecast_series(model: Any, values: Array, horizon: int) -> Array | None:
    """Quantiles [H, Q] of one series without gaps; None where the method fails or gives numbers that are not finite."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            forecast = model.forecast(y=values, h=horizon, level=[80, 95])
    except Exception as error:  # the library raises many kinds of error for a series that a method cannot be fitted to
        logger.debug("%s: %s", type(model).__name__, error)
        return None
    quantiles = np.stack([np.asarray(forecast[key], np.float64) for key in _QUANTILE_KEYS], axis=1)
    return np.sort(quantiles, axis=1) if np.isfinite(quantiles).all() else None


def _interpolate_gaps(values: Array) -> Array:
    is_observed = ~np.isnan(values)
    position = np.arange(len(values))
    return np.interp(position, position[is_observed], values[is_observed])
