"""A small panel of months for the global network, its forecasts, and awkward series."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.timeseries.forecast import Forecast
from pipeline.timeseries.panel import Panel
from pipeline.training.process_files import TrainedModel, TrainingJob
from tests.support.panels import panel_of
from tests.support.recipes import build_recipe

Array = npt.NDArray[np.float64]


LENGTH = 40


def recipe() -> Recipe:
    return build_recipe(
        "wide",
        season_length=4,
        source={"series": "shop"},
        model={"architecture": "global", "units": 8},
        training={"members": 1},
    )


def usual(count: int = 12) -> dict[str, Array]:
    """Shops of very different size, each with a season and noise."""
    rng = np.random.default_rng(0)
    t = np.arange(LENGTH)
    return {
        f"shop {n:02d}": 10.0 ** (n - 6) * (10 + 0.05 * t + np.sin(t * np.pi / 2) + 0.2 * rng.normal(size=LENGTH))
        for n in range(count)
    }


def panel_ending_together(series: dict[str, Array]) -> Panel:
    """Months in order of name; a series that begins with gaps starts later."""
    return panel_of(dict(sorted(series.items())))


def loaded(outcome: TrainedModel) -> Forecaster:
    return load_forecaster(outcome.files, hash_model(outcome.files))


def forecast(outcome: TrainedModel, series: dict[str, Array]) -> Forecast:
    return forecast_panel(loaded(outcome), panel_ending_together(series), recipe())


AWKWARD = {
    "constant": np.full(LENGTH, 7.0),
    "new": np.append(np.full(LENGTH - 3, np.nan), [5.0, 6.0, 7.0]),
    "one value": np.append(np.full(LENGTH - 1, np.nan), 5.0),
    "with gaps": np.where(np.arange(LENGTH) % 5 == 2, np.nan, 3.0 + np.sin(np.arange(LENGTH))),
    "zero at the end": np.append(np.arange(1.0, LENGTH), 0.0),
    "negative": np.arange(LENGTH) - 35.5,
    "exploding": 1.5 ** np.arange(LENGTH),
}


def job(panel: Panel | None = None, **changes: object) -> TrainingJob:
    told = {
        "panel": panel or panel_ending_together(usual()),
        "recipe": recipe(),
        "training": "retrain",
        "reason": "no model yet",
    }
    return TrainingJob(**told | changes)  # type: ignore[arg-type]
