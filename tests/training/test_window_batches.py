"""Windows are looked up inside TensorFlow as numpy finds them at the forecast, and hold nothing of the future."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from pipeline.forecasting.forecaster import prepare_inputs
from pipeline.preprocessing.covariates import fit_features
from pipeline.preprocessing.scaling import Scaling, fit_scaling
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.training.window_batches import FlatPanel, flatten_panel, look_up_windows
from tests.support.shops import CONTEXT, EVERY, HORIZON, recipe_of, shops_panel

pytestmark = pytest.mark.tensorflow

EVERYWHERE = Windows(np.repeat([0, 1], 10), np.concatenate([np.arange(7, 17), np.arange(7, 17)]))


def look_up(flat: FlatPanel, series: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> dict[str, Any]:
    pair = tf.constant(series), tf.constant(end)
    return look_up_windows(flat.tensors, *pair, scaling=flat.scaling, context=CONTEXT, horizon=HORIZON)


@pytest.mark.parametrize("kind", ["last", "mean", "standard", "min-max", "log"])
@pytest.mark.parametrize("covariates", ["", EVERY])
def test_what_is_gathered_to_fit_is_what_is_read_to_forecast(kind: str, covariates: str) -> None:
    panel = shops_panel()
    features = fit_features(panel, recipe_of(covariates))
    scaling = fit_scaling(panel, kind=kind, per_series=True, season=1)
    flat = flatten_panel(panel, scaling, features.transform(panel))

    found = look_up(flat, EVERYWHERE.series, EVERYWHERE.end)

    read = prepare_inputs(panel, features.transform(panel), EVERYWHERE, scaling, CONTEXT)
    for name, told in read.inputs.items():
        np.testing.assert_allclose(np.asarray(found[name]), told, rtol=1e-5, atol=1e-5)
    later = np.asarray(found["later"], np.float64)
    target = read_targets(panel, EVERYWHERE, HORIZON)
    values = scaling.unscale(later[..., 0], read.centre, read.scale)
    np.testing.assert_allclose(values[~np.isnan(target)], target[~np.isnan(target)], rtol=1e-5)
    np.testing.assert_array_equal(later[..., 1], ~np.isnan(target))


def test_a_changed_future_changes_nothing_that_is_gathered_but_what_is_asked_for() -> None:
    panel = shops_panel()
    features, scaling = fit_features(panel, recipe_of()), Scaling(kind="last")
    flat = flatten_panel(panel, scaling, features.transform(panel))
    values = flat.values.copy()
    values[13:20] = 1e9
    changed = replace(flat, values=values)

    one, other = (look_up(each, np.array([0]), np.array([12])) for each in (flat, changed))

    np.testing.assert_array_equal(one["context"], other["context"])
    np.testing.assert_array_equal(one["ahead"], other["ahead"])
    assert not np.array_equal(one["later"], other["later"])


def test_what_lies_before_a_series_is_masked_and_filled_by_its_first_value() -> None:
    panel = shops_panel()
    features = fit_features(panel, recipe_of())
    flat = flatten_panel(panel, Scaling(kind="last"), features.transform(panel))

    found = look_up(flat, np.array([1]), np.array([7]))

    context = np.asarray(found["context"])[0]
    assert context[:, 1].tolist() == [0, 0, 0, 0, 1, 1]
    assert (context[:4, 0] == context[4, 0]).all()
