"""What fine-tuning saves and costs: `python -m tests.benchmarks.fine_tuning`.

On a stationary panel a model is trained, a test part of new periods comes, and the model is fine-tuned, or trained anew, on
all of it; then both forecast what follows, which none has seen. Told are the seconds of each and the scaled quantile loss,
rounds of other panels in turn. For a recipe that scales by series the scaler is kept, or fitted again under the old weights.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import numpy.typing as npt

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.forecasting.forecaster import hash_model, load_forecaster
from pipeline.timeseries.forecast import LEVELS
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.panel import Panel, panel_from_observations
from pipeline.training import ensemble, train
from pipeline.training.champion import Champion, read_champion
from pipeline.training.gradient_steps import configure_threads

Array = npt.NDArray[np.float64]

HORIZON, LENGTH = 12, 180
RECIPES = {
    "global": "[model]\narchitecture = 'global'\n",
    "stacked, scaled by series": "[model]\narchitecture = 'stacked'\nscaling = 'standard'\nunits = 32\ncontext = 24\n"
    "[training]\nloss = 'pinball'\nepochs = 30\nbatch_size = 128\n",
}
#: recipe and number of series of each row
ROWS = (("stacked, scaled by series", 100), ("global", 100), ("global", 1000))


def recipe_of(tables: str) -> Recipe:
    """A recipe of twelve months."""
    head = f'name = "tuned"\nfrequency = "MS"\nhorizon = {HORIZON}\n[source]\nkind = "csv"\npath = "x.csv"\nperiod = "p"\nvalue = "v"\n'
    return parse_recipe(head + tables, where="tuned.toml", folder=Path())


def stationary(num_series: int, seed: int) -> Array:
    """Seasons of twelve about a level that holds, with noise that hangs together: [S, T]."""
    rng = np.random.default_rng(seed)
    level, season = rng.uniform(50, 500, (num_series, 1)), rng.normal(0, 0.1, (num_series, 12))
    noise = np.zeros((num_series, LENGTH + 2 * HORIZON))
    for t in range(1, noise.shape[1]):
        noise[:, t] = 0.6 * noise[:, t - 1] + 0.03 * rng.normal(size=num_series)
    return np.asarray(level * (1 + np.resize(season.T, (noise.shape[1], num_series)).T + noise))


def panel_of(values: Array) -> Panel:
    """Months from 1990 on."""
    num_series, length = values.shape
    months = (np.datetime64("1990-01", "M") + np.arange(length)).astype("datetime64[us]")
    names = [f"series {n:03d}" for n in range(num_series)]
    series = np.repeat(np.arange(num_series), length)
    return panel_from_observations(
        names, series, np.tile(months, num_series), values.ravel(), frequency=Frequency("MS")
    )


def quantile_loss(files: dict[str, bytes], panel: Panel, observed: Array) -> float:
    """Scaled by what was observed, over the levels of the table, as in the M5 and GluonTS's `mean_weighted_sum_quantile_loss`."""
    forecaster = load_forecaster(files, hash_model(files))
    _, _, quantiles = forecaster.predict(panel)
    error = observed[:, :, None] - quantiles
    levels = np.array(LEVELS)
    return float(2 * np.maximum(levels * error, (levels - 1) * error).sum(axis=(0, 1)).mean() / np.abs(observed).sum())


def with_fitted_scaler(champion: Champion, panel: Panel, recipe: Recipe) -> Champion:
    """The same weights, with a scaler of the longer panel."""
    forecaster = replace(champion.forecaster, scaling=ensemble.fit_recipe_scaling(panel, recipe))
    return replace(champion, forecaster=forecaster)


def timed(panel: Panel, recipe: Recipe, champion: Champion, observed: Array, *, fine_tune: bool) -> tuple[float, float]:
    """Seconds of a training, and the loss of what comes of it."""
    began = time.perf_counter()
    files = train.train(panel, recipe, champion=champion, fine_tune=fine_tune).files
    return time.perf_counter() - began, quantile_loss(files, panel, observed)


def shares(recipe: Recipe, values: Array) -> tuple[float, float, float, float]:
    """Of a retraining's seconds and loss: seconds, loss with the kept scaler, with a fitted one, of the kept model."""
    first, longer = panel_of(values[:, :LENGTH]), panel_of(values[:, : LENGTH + HORIZON])
    observed = values[:, LENGTH + HORIZON :]
    old = train.train(first, recipe).files
    champion = read_champion(old, hash_model(old))
    seconds, loss = timed(longer, recipe, champion, observed, fine_tune=False)
    tuned = timed(longer, recipe, champion, observed, fine_tune=True)
    again = timed(longer, recipe, with_fitted_scaler(champion, longer, recipe), observed, fine_tune=True)
    return tuned[0] / seconds, tuned[1] / loss, again[1] / loss, quantile_loss(old, longer, observed) / loss


def main() -> None:
    """Print a table by recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--row", type=int, choices=range(len(ROWS)), action="append", help="only these")
    asked = parser.parse_args()
    configure_threads()
    columns = ("seconds of fine-tuning", "WQL, scaler kept", "WQL, scaler fitted again", "WQL, not trained")
    print("| of a retraining | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name, num_series in [ROWS[row] for row in asked.row or range(len(ROWS))]:
        recipe = recipe_of(RECIPES[name])
        rounds = [shares(recipe, stationary(num_series, seed)) for seed in range(asked.rounds)]
        cells = [
            f"{statistics.median(own):.3f} ({min(own):.3f} to {max(own):.3f})" for own in zip(*rounds, strict=True)
        ]
        print(f"| {name}, {num_series:,} series | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
