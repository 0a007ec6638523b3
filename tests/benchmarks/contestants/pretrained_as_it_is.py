"""The shipped networks on a folder of panels without any fit: `python -m …pretrained_as_it_is FOLDER`.

The folder has recipe and panels as a training process gets them (`pipeline.training.process_files`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.forecasting.fallback import NoNetwork, forecast_panel
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.models.pretrained import load_pretrained, network_name, pretrained_configs
from pipeline.timeseries.forecast import NETWORK
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import read_panel
from pipeline.training.ensemble import fit_ensemble
from pipeline.training.gradient_steps import configure_threads
from pipeline.training.members import build_members
from pipeline.training.model_directory import build_model_directory
from pipeline.training.process_files import JobFile, JobFolder
from tests.benchmarks.contestants.panel_folder import forecast_panels


def build_forecaster(panel: Panel, recipe: Recipe) -> Forecaster:
    """Return the pretrained network for a recipe's season, as it is; its intervals are not calibrated.

    Raises:
        LookupError: there is none for this season and horizon.
        ModelRefused: it can read none of the series.
    """
    network = load_pretrained(network_name(recipe.grid, recipe.season))
    if network is None or network.horizon < recipe.horizon:
        raise LookupError("no pretrained network for this season and horizon")
    configs = pretrained_configs(network, members=recipe.num_members, steps=0, batch_size=1, learning_rate=0.001)
    members = [member.moved_by(0.0) for member in build_members(panel, recipe, configs=configs)]
    ensemble = fit_ensemble(panel, recipe, members, on_epoch=None)
    files, _ = build_model_directory(panel, recipe, ensemble, backtest=None)
    return load_forecaster(files, hash_model(files))


def forecast_as_it_is(panel: Panel, recipe: Recipe) -> tuple[npt.NDArray[np.float64], int]:
    """Return the quantiles that would be published [S, H, Q], and how many series a baseline forecast."""
    forecaster: Forecaster | NoNetwork
    try:
        forecaster = build_forecaster(panel, recipe)
    except ModelRefused as refusal:
        forecaster = NoNetwork(str(refusal))
    forecast = forecast_panel(forecaster, panel, recipe)
    keras.backend.clear_session()
    return forecast.quantiles, sum(method != NETWORK for method in forecast.method)


def main() -> None:
    """Forecast."""
    configure_threads()
    folder = JobFolder(Path(sys.argv[1]))
    job = JobFile.model_validate_json(folder.job.read_bytes())

    def forecast(number: int) -> tuple[npt.NDArray[np.float64], int]:
        return forecast_as_it_is(read_panel(folder.panel(number), job.panels[number]), job.recipe)

    forecast_panels(folder.path, forecast)


if __name__ == "__main__":
    main()
