"""How long it takes to forecast many series that are loaded: `python -m tests.benchmarks.forecasting`.

Networks are fitted on a few series, saved and loaded as a night loads them, and forecast all: the global default with its
three members, and two stacked layers of 64. TensorFlow is not imported by what is timed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.forecasting.fallback import forecast_panel
from pipeline.forecasting.forecaster import Forecaster, hash_model, load_forecaster
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob
from tests.benchmarks.training import panel_of

RECIPE = """
name = "wide"
frequency = "MS"
horizon = 18
[source]
kind = "csv"
path = "wide.csv"
period = "month"
value = "sold"
series = "shop"
[model]
{model}
[training]
{training}
"""
NETWORKS = {
    "global, three members": ("", ""),
    "stacked, 2 × 64": (
        'architecture = "stacked"\ncontext = 36',
        'epochs = 1\nloss = "pinball"',
    ),
}


def fitted(recipe: Recipe) -> Forecaster:
    """As a night has it: from files."""
    job = TrainingJob(
        panel=panel_of(200, 120, season=12, unit="M"), recipe=recipe, training="retrain", reason="measured"
    )
    files = run_training(job).files
    return load_forecaster(files, hash_model(files))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    panel = panel_of(asked.series, asked.length, season=12, unit="M")
    print("| network | series | horizon | seconds | windows a second |")
    print("|---|---|---|---|---|")
    for name, (model, training) in NETWORKS.items():
        recipe = parse_recipe(RECIPE.format(model=model, training=training), where="wide.toml", folder=Path())
        forecaster = fitted(recipe)
        times = []
        for _ in range(asked.rounds):
            began = time.perf_counter()
            forecast_panel(forecaster, panel, recipe)
            times.append(time.perf_counter() - began)
        assert "tensorflow" not in sys.modules
        middle = statistics.median(times)
        print(
            f"| {name} | {asked.series:,} | {recipe.horizon} | {middle:.1f} ({min(times):.1f} to {max(times):.1f}) "
            f"| {asked.series / middle:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
