"""The project's own fit, of a stacked network, on windows that are gathered in the graph."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from pipeline.models.specs import InputSpec, NetworkSpec
from pipeline.models.window_scaling import build_scaled_trunk
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.scaling import Scaling
from pipeline.preprocessing.windows import ContextRequirements, find_windows
from pipeline.timeseries.panel import Panel
from pipeline.training.fit_network import FitSettings, fit_network
from pipeline.training.gradient_steps import configure_threads
from pipeline.training.window_batches import flatten_panel
from tests.benchmarks.contestants.rounds import STEPS, Clock, shape

SERIES = 2000


def main() -> None:
    """Measure."""
    told = shape()
    configure_threads()
    keras.utils.set_random_seed(0)
    length = told.context + told.horizon + 60
    rng = np.random.default_rng(0)
    values = 80 + np.cumsum(rng.normal(size=(SERIES, length)), axis=1) + 10 * np.sin(np.arange(length) / 2)
    panel = Panel(
        series=tuple(map(str, range(SERIES))),
        grid=np.datetime64("2020-01-01", "us") + np.arange(length) * np.timedelta64(1, "D"),
        first=np.zeros(SERIES, np.int64),
        offsets=np.arange(SERIES + 1) * length,
        values=values.clip(5).ravel(),
    )
    none = {name: np.empty((rows, 0), np.float32) for name, rows in (("past", values.size), ("future", values.size))}
    features = FeatureArrays(
        **none, calendar=np.empty((length + told.horizon, 0), np.float32), static=np.empty((SERIES, 0), np.float32)
    )
    flat = flatten_panel(panel, Scaling(kind="last", season=1), features)
    sizes = NetworkSpec(
        context=told.context, features=0, horizon=told.horizon, units=told.units, layers=told.layers, levels=5
    )
    trunk = build_scaled_trunk("stacked", sizes, InputSpec(horizon=told.horizon), scaling="last", lag=1)
    needs = ContextRequirements(context=told.context, least_length=told.context, least_known=told.context)
    windows = find_windows(panel, needs=needs, horizon=told.horizon)
    windows = windows.take(rng.permutation(len(windows)))
    settings = FitSettings(
        epochs=told.rounds + 1,
        steps_per_epoch=STEPS,
        batch_size=told.batch,
        learning_rate=0.001,
        loss="pinball",
        clip_norm=1.0,
        seed=0,
    )
    clock = Clock()
    fit_network(trunk, flat, windows, settings, on_epoch=lambda *_: clock.told())


if __name__ == "__main__":
    main()
