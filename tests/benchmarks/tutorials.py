"""Seconds from the first call to a fitted network, of the tutorials' own networks: ours and `keras.Model.fit` in turn.

`python -m tests.benchmarks.tutorials`. Each fit is in a process of its own, which has imported everything before the clock
starts; tracing and compiling count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.config.tutorial import Tutorial

RECIPES = Path(__file__).parents[2] / "deployments/recipes"
#: by row, its recipe and how many windows are fitted on
ROWS = {"T0": ("integers", 65), "T1": ("aapl", 1952), "T2": ("btc", 1018), "T3p": ("airline", 92), "T4": ("milk", 144)}


def tutorial_of(row: str) -> Tutorial:
    """The protocol that a row's recipe names."""
    os.environ.setdefault("NEXTPERIOD_AAPL_CSV", "none.csv")
    recipe: Recipe = load_recipe(ROWS[row][0], RECIPES)
    assert recipe.tutorial is not None
    return recipe.tutorial


def with_fit(tutorial: Tutorial, inputs: np.ndarray, targets: np.ndarray) -> list[float]:
    """As tutorials write it."""
    import keras

    from pipeline.models.network_builder import build_network
    from pipeline.training.tutorial import network_spec

    keras.utils.set_random_seed(0)
    network = build_network(tutorial.architecture, network_spec(tutorial))
    network.compile(keras.optimizers.Adam(tutorial.learning_rate, clipvalue=tutorial.clip_value), "mse")
    options = {"epochs": tutorial.epochs, "batch_size": tutorial.batch_size, "shuffle": tutorial.shuffle, "verbose": 0}
    return network.fit(inputs.astype(np.float32), targets.astype(np.float32), **options).history["loss"]


def with_ours(tutorial: Tutorial, inputs: np.ndarray, targets: np.ndarray) -> list[float]:
    """As a training does it."""
    from pipeline.training.tutorial import fit_tutorial_network

    losses: list[float] = []
    fit_tutorial_network(tutorial, inputs, targets, seed=0, on_epoch=lambda _, __, loss: losses.append(loss))
    return losses


def measured(row: str, way: str) -> None:
    """Print the seconds of one fit and its last loss."""
    import keras  # noqa: F401
    import tensorflow as tf

    from pipeline.training import tutorial as _  # noqa: F401
    from pipeline.training.gradient_steps import configure_threads

    tutorial = tutorial_of(row)
    rng = np.random.default_rng(0)
    waves = np.sin(np.arange(ROWS[row][1] + tutorial.context) / 5) + 0.1 * rng.normal(
        size=ROWS[row][1] + tutorial.context
    )
    inputs = np.lib.stride_tricks.sliding_window_view(waves, tutorial.context)[:-1, :, None]
    targets = waves[tutorial.context :]
    if way == "ours":
        configure_threads()
    tf.constant(0.0).numpy()
    began = time.perf_counter()
    losses = with_ours(tutorial, inputs, targets) if way == "ours" else with_fit(tutorial, inputs, targets)
    print(time.perf_counter() - began, losses[-1])


def seconds(row: str, way: str) -> float:
    """Of one fit in a fresh process."""
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, "--row", row, "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-2])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=list(ROWS), action="append")
    parser.add_argument("--way", choices=["ours", "fit"])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    if asked.way:
        measured(asked.row[0], asked.way)
        return
    print("| row | seconds, ours | seconds, `fit` | times as fast |")
    print("|---|---|---|---|")
    for row in asked.row or [row for row in ROWS if row != "T2"]:  # whose `fit` takes minutes
        rounds = [(seconds(row, "ours"), seconds(row, "fit")) for _ in range(asked.rounds)]
        ours, theirs = (statistics.median(each) for each in zip(*rounds, strict=True))
        ratios = sorted(fit / own for own, fit in rounds)
        print(
            f"| {row} | {ours:.1f} | {theirs:.1f} | {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
