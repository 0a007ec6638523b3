"""A contestant's side of a folder of panels: read each, time a forecast of it, write the quantiles. Needs NumPy alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def panel_path(folder: Path, number: int) -> Path:
    """Return the file of a panel, with its arrays `values` and `offsets` among others."""
    return folder / f"panel.{number}.npz"


def quantiles_path(folder: Path, number: int) -> Path:
    """Return the file of a panel's forecast, [S, H, Q]."""
    return folder / f"quantiles.{number}.npy"


def read_values(folder: Path, number: int) -> list[Array]:
    """Return the values of each series of a panel; gaps are NaN."""
    with np.load(panel_path(folder, number), allow_pickle=False) as arrays:
        return np.split(arrays["values"], arrays["offsets"][1:-1])


def forecast_panels(folder: Path, forecast: Callable[[int], tuple[Array, int]]) -> None:
    """Forecast each panel of a folder, and print a line of JSON for each when it is done.

    A first line says that everything is imported. An error ends the process after its line.

    Args:
        folder: with the panels.
        forecast: from the number of a panel to its quantiles [S, H, Q], NaN where the method has none for a series, and
            to the number of series that a baseline forecast instead.
    """
    _print({"ready": True})
    for number in range(len(list(folder.glob("panel.*.npz")))):
        began = time.perf_counter()
        try:
            quantiles, num_stand_ins = forecast(number)
        except Exception as error:  # libraries raise many kinds of error; each is a result
            _print({"problem": (str(error) or type(error).__name__)[:300]})
            return
        seconds = time.perf_counter() - began
        np.save(quantiles_path(folder, number), quantiles, allow_pickle=False)
        _print({"seconds": seconds, "stand_ins": num_stand_ins})


def _print(fields: dict[str, Any]) -> None:
    print(json.dumps(fields), flush=True)
