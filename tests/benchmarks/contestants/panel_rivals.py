"""Other libraries on a folder of panels, as their pages write it: `python panel_rivals.py METHOD FOLDER SEASON HORIZON`.

Gaps are interpolated. What is not given here is the library's default.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from panel_folder import forecast_panels, read_values

Array = npt.NDArray[np.float64]

#: ends of the columns of forecasts, in the order of the quantile levels; the median is the mean where there is no other
_STATISTICAL = ("-lo-95", "-lo-80", "", "-hi-80", "-hi-95")
_NEURAL = ("-lo-95", "-lo-80", "-median", "-hi-80", "-hi-95")
_INTERVALS = [80, 95]


def build_frame(series: list[Array]) -> pd.DataFrame:
    """Return the long frame of series that end together, at whole numbers instead of dates."""
    lengths = [len(values) for values in series]
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(series)), lengths),
            "ds": np.concatenate([np.arange(max(lengths) - length, max(lengths)) for length in lengths]),
            "y": np.concatenate([_interpolate_gaps(values) for values in series]),
        }
    )


def _interpolate_gaps(values: Array) -> Array:
    is_observed, position = ~np.isnan(values), np.arange(len(values))
    return np.interp(position, position[is_observed], values[is_observed])


def load_statistical(name: str) -> Callable[[list[Array], int, int], Array]:
    """Import statsforecast, and return what forecasts by one of its models."""
    from statsforecast import StatsForecast, models

    def forecast(series: list[Array], season: int, horizon: int) -> Array:
        model = getattr(models, name)(season_length=season)
        library = StatsForecast([model], freq=1, n_jobs=-1, fallback_model=models.SeasonalNaive(season))
        frame = library.forecast(h=horizon, df=build_frame(series), level=_INTERVALS)
        return _read_quantiles(frame, [f"{name}{end}" for end in _STATISTICAL], horizon)

    return forecast


def load_neural(name: str, horizons_read: int) -> Callable[[list[Array], int, int], Array]:
    """Import neuralforecast, and return what forecasts by one of its networks, fitted on the panel.

    Args:
        name: of the network.
        horizons_read: length of its input, in horizons.
    """
    from neuralforecast import NeuralForecast, models
    from neuralforecast.losses.pytorch import MQLoss

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }

    def forecast(series: list[Array], season: int, horizon: int) -> Array:
        del season  # these networks read the values alone
        length = horizons_read * horizon
        shortest = min(len(values) for values in series)
        model = getattr(models, name)(
            h=horizon,
            input_size=length,
            loss=MQLoss(level=_INTERVALS),
            start_padding_enabled=shortest < length + horizon,  # it refuses such series otherwise
            accelerator="cpu",
            **quiet,
        )
        library = NeuralForecast([model], freq=1)
        library.fit(build_frame(series))
        return _read_quantiles(library.predict(), [f"{name}{end}" for end in _NEURAL], horizon)

    return forecast


def _read_quantiles(frame: pd.DataFrame, columns: list[str], horizon: int) -> Array:
    """Quantiles [S, H, Q] in ascending order."""
    ordered = frame.reset_index().sort_values(["unique_id", "ds"])
    return np.sort(ordered[columns].to_numpy(float), axis=1).reshape(-1, horizon, len(columns))


#: what imports a library and returns the method, by its name
METHODS = {
    "AutoETS": partial(load_statistical, "AutoETS"),
    "DynamicOptimizedTheta": partial(load_statistical, "DynamicOptimizedTheta"),
    "AutoARIMA": partial(load_statistical, "AutoARIMA"),
    "LSTM": partial(load_neural, "LSTM", horizons_read=3),  # the network's default
    "NHITS": partial(load_neural, "NHITS", horizons_read=2),  # it has none; its page reads two
}


def main() -> None:
    """Forecast."""
    warnings.simplefilter("ignore")
    method, folder, season, horizon = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    forecast = METHODS[method]()
    forecast_panels(folder, lambda number: (forecast(read_values(folder, number), season, horizon), 0))


if __name__ == "__main__":
    main()
