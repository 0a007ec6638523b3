"""Series that a plain network cannot use, among those that it can: each has an outcome, none a NaN."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused
from pipeline.training.process import run_training
from pipeline.training.process_files import TrainingJob
from tests.support.global_forecasts import AWKWARD, LENGTH, forecast, panel_ending_together, usual
from tests.support.recipes import build_recipe

pytestmark = pytest.mark.tensorflow

SIZES = {"huge": 1e12 * (10 + np.sin(np.arange(LENGTH))), "tiny": 1e-12 * (10 + np.sin(np.arange(LENGTH)))}
SERIES = usual(3) | AWKWARD | SIZES | {"NaN at the end": np.append(np.arange(1.0, LENGTH), np.nan)}
#: what every network here lacks of them
TOO_SHORT = {"new", "one value"}
NOT_POSITIVE = {"zero at the end", "negative"}


def recipe_of(scaling: str, loss: str = "mae", more: str = "") -> Recipe:
    return build_recipe(
        "wide",
        season_length=4,
        source={"series": "shop"},
        model={"architecture": "vanilla", "units": 4, "context": 8, "scaling": scaling},
        training=f'epochs = 2\nloss = "{loss}"\n{more}',
    )


def job(series: dict[str, np.ndarray], recipe: Recipe) -> TrainingJob:  # type: ignore[type-arg]
    return TrainingJob(panel=panel_ending_together(series), recipe=recipe, training="retrain", reason="no model yet")


@pytest.mark.parametrize(("scaling", "loss"), [("log", "mae"), ("seasonal", "pinball"), ("min-max", "huber")])
def test_each_series_has_an_outcome_with_its_reason(scaling: str, loss: str) -> None:
    outcome = run_training(job(SERIES, recipe_of(scaling, loss)))

    made = forecast(outcome, SERIES)

    told = dict(zip(made.series, zip(made.method, made.reason, strict=True), strict=True))
    assert np.isfinite(made.mean).all()
    assert np.isfinite(made.quantiles).all()
    lacking = TOO_SHORT | {"NaN at the end"} | (NOT_POSITIVE if scaling == "log" else set())
    for name, (method, reason) in told.items():
        if name in lacking:
            assert method.startswith("fallback:"), name
            assert reason is not None
            assert reason.startswith("the network needs 8 periods with 4 values")
            assert ("all of them positive" in reason) == (scaling == "log")
        else:
            assert method == "lstm" or "ranges away" in str(reason), name
    for name in ("huge", "tiny"):
        assert told[name][0] == "lstm"
        assert told[name][1] is None or "the interval has the baseline's width" in str(told[name][1])
        level = np.abs(SERIES[name]).mean()
        assert (np.abs(made.mean[made.series.index(name)] - level) < 0.5 * level).all()


@pytest.mark.parametrize(
    ("series", "scaling", "more", "message"),
    [
        ({"a": -np.arange(1.0, LENGTH + 1)}, "log", "", "no series has a window to fit on.*above 0, whose logarithm"),
        ({"a": np.arange(1.0, 8.0)}, "last", "", "no series has a window to fit on: 11 periods are needed"),
        (usual(1), "last", 'learning_rate = 1e38\noptimizer = "sgd"', "is not finite: lower training.learning_rate"),
    ],
    ids=["all negative under log", "too short", "a loss that becomes NaN"],
)
def test_what_nothing_can_be_fitted_on_is_refused(series, scaling: str, more: str, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ModelRefused, match=message):
        run_training(job(series, recipe_of(scaling, "mse", more)))
