"""What a training of 20 million points costs: `python -m tests.benchmarks.training`.

100,000 generated series of 200 periods, a daily recipe with nothing set. Printed: the resident memory of the training
process at its peak, and its seconds.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline.config.loader import parse_recipe
from pipeline.timeseries.panel import Panel
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob

RECIPE = """
name = "wide"
frequency = "D"
horizon = 14
[source]
kind = "csv"
path = "wide.csv"
period = "day"
value = "sold"
series = "shop"
[training]
members = {members}
"""


def panel_of(num_series: int, length: int, *, season: int = 7, unit: Literal["D", "M"] = "D") -> Panel:
    """Seasons with noise, each series of its own size."""
    rng = np.random.default_rng(0)
    season = 1 + 0.2 * np.sin(2 * np.pi * np.arange(length) / season)
    values = season * rng.lognormal(sigma=0.1, size=(num_series, length)) * rng.lognormal(3, 2, size=(num_series, 1))
    return Panel(
        series=tuple(f"shop {n:06d}" for n in range(num_series)),
        grid=(np.datetime64("2010-01", unit) + np.arange(length)).astype("datetime64[us]"),
        first=np.zeros(num_series, np.int64),
        offsets=np.arange(num_series + 1) * length,
        values=values.ravel(),
    )


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=200)
    parser.add_argument("--members", type=int, default=3)
    asked = parser.parse_args()
    recipe = parse_recipe(RECIPE.format(members=asked.members), where="wide.toml", folder=Path())
    panel = panel_of(asked.series, asked.length)
    began = time.perf_counter()
    outcome = run_training(TrainingJob(panel=panel, recipe=recipe, training="retrain", reason="measured"))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    assert outcome.record.backtest is not None
    print(
        f"{len(panel.values):,} points of {asked.series:,} series: {peak:.2f} GiB at the peak, {seconds:.0f} s, "
        f"MASE {outcome.record.backtest.scores['lstm']['mase']:.3f}, "
        f"seasonal naive {outcome.record.backtest.scores['seasonal-naive']['mase']:.3f}"
    )


if __name__ == "__main__":
    main()
