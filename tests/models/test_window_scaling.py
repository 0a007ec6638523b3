"""The window's own scale in the graph: its numbers, its inverse in single precision, gaps, and that all series look alike."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pipeline.models.window_scaling import scale_windows
from pipeline.preprocessing.covariates import FeatureArrays
from pipeline.preprocessing.scaling import Scaling, fit_scaling
from pipeline.preprocessing.windows import Windows, read_contexts
from pipeline.timeseries.panel import Panel
from pipeline.training.window_batches import FlatPanel, flatten_panel, look_up_windows
from tests.support.panels import panel_of

pytestmark = pytest.mark.tensorflow

NAN = float("nan")

Array = npt.NDArray[np.float64]
#: of windows, as a recipe of one scaling has it
Scaler = partial[tuple[Any, Any, Any]]

HORIZON = 3
KINDS = ("seasonal", "last", "mean", "standard", "min-max", "log")
EACH = pytest.mark.parametrize("kind", KINDS)
BY = pytest.mark.parametrize("per_series", [False, True], ids=["by window", "by series"])


def layer_of(kind: str, *, season: int = 2, per_series: bool = False, horizon: int = HORIZON) -> Scaler:
    """As a recipe of this scaling has it."""
    within = "last" if kind == "log" else kind
    lag = {"seasonal": season, "last": 1}.get(within, 0)
    return partial(scale_windows, kind="given" if per_series else within, lag=lag, horizon=horizon)


def scaled(layer: Scaler, context: Any, known: Any = None) -> tuple[Array, Array, Array]:
    """Steps [N, L], base [N, H] and scale [N, 1] of windows."""
    told = np.array(context, np.float32)
    mask = np.ones_like(told) if known is None else np.array(known, np.float32)
    steps, base, scale = (
        np.asarray(part, float) for part in layer(ops.convert_to_tensor(np.stack([told, mask], axis=-1)))
    )
    np.testing.assert_array_equal(steps[:, :, 1], mask)
    return steps[:, :, 0], base[:, 0], scale[:, 0]


def centre_of(layer: Scaler, base: Array) -> Array:
    """What the steps are around: the mean of the last season, which the base repeats."""
    return base[:, : max(layer.keywords["lag"], 1)].mean(axis=1, keepdims=True)


def look_up(flat: FlatPanel, ends: Windows) -> dict[str, Any]:
    return look_up_windows(flat.tensors, ends.series, ends.end, scaling=flat.scaling, context=8, horizon=HORIZON)


def without_features(panel: Panel, scaling: Scaling) -> FlatPanel:
    features = FeatureArrays(
        past=np.empty((len(panel.values), 0), np.float32),
        future=np.empty((len(panel.values), 0), np.float32),
        calendar=np.empty((len(panel.grid), 0), np.float32),
        static=np.empty((len(panel.series), 0), np.float32),
    )
    return flatten_panel(panel, scaling, features)


def test_seasonal_centres_on_the_last_season_which_it_repeats() -> None:
    steps, base, scale = scaled(layer_of("seasonal"), [[1, 10, 3, 14]])  # seasonal differences 2 and 4

    assert scale.tolist() == [[3]]
    assert base.tolist() == [[3, 14, 3]]
    np.testing.assert_allclose(steps, [[-2.5, 0.5, -5.5 / 3, 5.5 / 3]], rtol=1e-6)


def test_an_unknown_place_of_the_last_season_has_the_value_of_the_season_before() -> None:
    known = [[1, 1, 1, 0, 1, 1]]

    steps, base, scale = scaled(layer_of("seasonal", season=3), [[1, 10, 3, 3, 14, 5]], known)

    assert base.tolist() == [[1, 14, 5]]
    assert scale.tolist() == [[3]]  # from 10 to 14 and from 3 to 5
    np.testing.assert_allclose(steps, (np.array([[1, 10, 3, 0, 14, 5]]) - 20 / 3) / 3 * known, rtol=1e-5, atol=1e-6)


def test_without_a_seasonal_difference_changes_from_period_to_period_are_the_scale() -> None:
    _, base, scale = scaled(layer_of("seasonal", season=3), [[4, 4, 4, 4, 6, 14]], [[0, 0, 0, 1, 1, 1]])

    assert scale.tolist() == [[5]]  # from 4 to 6 and on to 14
    assert base.tolist() == [[4, 6, 14]]


@pytest.mark.parametrize(
    ("kind", "centre", "scale"), [("last", 7, 3), ("mean", 0, 11 / 3), ("min-max", 1, 6), ("given", 0, 1)]
)
def test_others_centre_on_one_value_which_they_repeat(kind: str, centre: float, scale: float) -> None:
    layer = partial(scale_windows, kind=kind, lag=1 if kind == "last" else 0, horizon=HORIZON)

    steps, base, found = scaled(layer, [[1, 3, 7]])

    assert base.tolist() == [[centre] * HORIZON]
    np.testing.assert_allclose(found, [[scale]], rtol=1e-6)
    np.testing.assert_allclose(steps, [[(x - centre) / scale for x in (1, 3, 7)]], rtol=1e-6)


@pytest.mark.parametrize(("kind", "oracle"), [("min-max", MinMaxScaler()), ("standard", StandardScaler())])
def test_windows_agree_with_scikit_learn(kind: str, oracle: MinMaxScaler | StandardScaler) -> None:
    context = np.random.default_rng(0).normal(5, 7, (4, 40))

    steps, _, _ = scaled(layer_of(kind), context)

    np.testing.assert_allclose(steps, oracle.fit_transform(context.T).T, atol=1e-5)


@pytest.mark.parametrize("season", [1, 3, 7])
def test_seasonal_agrees_with_a_loop_over_what_is_known(season: int) -> None:
    rng = np.random.default_rng(season)
    context, known = rng.normal(size=(6, 21)), rng.random((6, 21)) < 0.8

    steps, base, scale = scaled(layer_of("seasonal", season=season, horizon=9), context, known)

    for n, (x, told) in enumerate(zip(context, known, strict=True)):
        pairs = [t for t in range(season, 21) if told[t] and told[t - season]]
        size = sum(abs(x[t] - x[t - season]) for t in pairs) / len(pairs)
        at_place = [[x[t] for t in range(21 - season + h, -1, -season) if told[t]] for h in range(season)]
        newest = [values[0] if values else 0.0 for values in at_place]
        centre = sum(newest) / season
        np.testing.assert_allclose(scale[n], size, rtol=1e-5)
        np.testing.assert_allclose(base[n], [newest[h % season] for h in range(9)], rtol=1e-6)
        np.testing.assert_allclose(steps[n], np.where(told, (x - centre) / size, 0), atol=1e-5)


def windows(kind: str, seed: int, level: float, movement: float) -> Array:
    """Values of which there are logarithms where they are taken, otherwise of either sign."""
    return level + movement * np.random.default_rng(seed).uniform(0.01 if kind == "log" else -1, 1, (5, 8))


def there_and_back(kind: str, per_series: bool, context: Array) -> Array:
    """Windows through double precision, single precision and the layer, and all the way back."""
    scaling = fit_scaling(
        panel_of([context[0]], frequency="D", align="end"), kind=kind, per_series=per_series, season=3
    )
    centre, scale = scaling.window_parameters(context, np.ones_like(context, bool), ["a"] * len(context))
    layer = layer_of(kind, season=3, per_series=per_series)
    steps, base, own = scaled(layer, scaling.scale(context, centre, scale))
    around = 0.0 if per_series else centre_of(layer, base)
    return scaling.unscale(steps * own + around, centre, scale)


@EACH
@BY
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_the_inverse_is_exact_over_twelve_orders_of_magnitude(
    kind: str, per_series: bool, seed: int, exponent: float
) -> None:
    context = windows(kind, seed, 0, 10**exponent)

    back = there_and_back(kind, per_series, context)

    largest = np.abs(context).max(axis=1, keepdims=True)
    np.testing.assert_allclose(back / largest, context / largest, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["seasonal", "last", "standard", "min-max"])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_a_movement_that_is_a_millionth_of_the_level_comes_back(kind: str, seed: int, exponent: float) -> None:
    movement = 10 ** (exponent - 6)
    context = windows(kind, seed, 10**exponent, movement)

    np.testing.assert_allclose(there_and_back(kind, False, context), context, rtol=0, atol=2e-6 * movement)


@EACH
@pytest.mark.parametrize("value", [0.1, 5.0, -1e6, 1e-9])
@pytest.mark.parametrize("length", [6, 37])
def test_a_constant_window_stays_constant(kind: str, value: float, length: int) -> None:
    value = abs(value) if kind == "log" else value
    context = np.full((1, length), value)
    scaling = fit_scaling(panel_of([[1.0, 2.0]], frequency="D", align="end"), kind=kind, per_series=False, season=2)
    centre, size = scaling.window_parameters(context, np.ones_like(context, bool), ["a"])

    steps, base, scale = scaled(layer_of(kind), scaling.scale(context, centre, size))

    np.testing.assert_allclose(scale, 1)
    np.testing.assert_allclose(steps, np.sign(value) if kind == "mean" else 0, atol=1e-6)
    repeated = scaling.unscale(base, centre, size)
    np.testing.assert_allclose(repeated, 0 if kind == "mean" else value, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", ["seasonal", "last", "mean", "standard", "given"])
def test_what_is_not_known_changes_nothing(kind: str) -> None:
    """Each place of the season is known somewhere, and two values follow each other."""
    rng = np.random.default_rng(0)
    context, known = rng.normal(size=(20, 9)), rng.random((20, 9)) < 0.6
    known[:, [2, 3, 8]] = True
    other = np.where(known, context, 1e4 * rng.normal(size=(20, 9)))
    layer = partial(scale_windows, kind=kind, lag={"seasonal": 2, "last": 1}.get(kind, 0), horizon=HORIZON)

    for one, another in zip(scaled(layer, context, known), scaled(layer, other, known), strict=True):
        np.testing.assert_array_equal(one, another)


def test_a_gap_changes_no_minimum_or_maximum_of_its_window() -> None:
    panel = panel_of([[2, 9, NAN, NAN, 1, 4, 3]], frequency="D", align="end")
    context, known = read_contexts(panel, Windows(np.array([0]), np.array([6])), 6)

    steps, base, scale = scaled(layer_of("min-max"), context, known)

    assert (base.tolist(), scale.tolist()) == ([[1] * HORIZON], [[8]])
    np.testing.assert_allclose(steps, [[1, 0, 0, 0, 0.375, 0.25]])


def test_a_value_before_the_window_changes_no_minimum_or_maximum_of_it() -> None:
    panel = panel_of([[2, 9, NAN, NAN, 1, 4, 3]], frequency="D", align="end")
    context, known = read_contexts(panel, Windows(np.array([0]), np.array([6])), 5)

    _, base, scale = scaled(layer_of("min-max"), context, known)

    assert (base.tolist(), scale.tolist()) == ([[1] * HORIZON], [[3]])


@pytest.mark.parametrize("kind", ["seasonal", "last", "mean", "standard", "min-max"])
def test_series_of_any_size_look_the_same(kind: str) -> None:
    context = np.random.default_rng(2).normal(size=(5, 8))

    one = scaled(layer_of(kind), context)
    larger = scaled(layer_of(kind), 1000 * context)

    np.testing.assert_allclose(one[0], larger[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(1000 * one[1], larger[1], rtol=1e-5)
    np.testing.assert_allclose(1000 * one[2], larger[2], rtol=1e-5)
    if kind != "mean":
        np.testing.assert_allclose(scaled(layer_of(kind), context + 50)[0], one[0], atol=1e-4)


def test_series_of_any_size_are_flat_side_by_side_and_filled() -> None:
    panel = panel_of([[1e12, NAN, 3e12], [1e-12, 2e-12], [0.0, 0.0]], frequency="D", align="end")

    flat = without_features(panel, Scaling(kind="last"))

    assert flat.values.tolist() == [1e12, 1e12, 3e12, 1e-12, 2e-12, 0, 0]
    assert flat.is_known.tolist() == [1, 0, 1, 1, 1, 1, 1]


@BY
def test_what_has_no_logarithm_is_not_known_to_a_network_that_reads_logarithms(per_series: bool) -> None:
    panel = panel_of([[1, 0, -3, 4, 5]], frequency="D", align="end")
    scaling = fit_scaling(panel, kind="log", per_series=per_series, season=1)

    flat = without_features(panel, scaling)

    assert flat.is_known.tolist() == [1, 0, 0, 1, 1]
    assert (flat.values[:3] == flat.values[0]).all()


def test_a_first_value_that_has_no_logarithm_takes_none_from_another_series() -> None:
    logarithms = Scaling(kind="log", logarithms=True)

    one, other = (
        without_features(panel_of([[7.0, last], [0.0, 4, 5]], frequency="D", align="end"), logarithms).values
        for last in (7.0, 700.0)
    )

    np.testing.assert_array_equal(one[2:], other[2:])


@EACH
@BY
def test_a_window_is_the_same_when_it_is_fitted_on_and_when_it_is_forecast_from(kind: str, per_series: bool) -> None:
    rng = np.random.default_rng(4)
    rows = [size * (5 + rng.normal(size=length).cumsum() / 4) for size, length in ((1e-9, 30), (1.0, 20), (1e9, 25))]
    rows[0][12], rows[2][[9, 10]] = NAN, NAN
    panel = panel_of([*rows], frequency="D", align="end")
    assert np.nanmin(panel.values) > 0
    scaling = fit_scaling(panel, kind=kind, per_series=per_series, season=2)
    layer = layer_of(kind, per_series=per_series)
    ends = Windows(np.array([0, 0, 1, 1, 2, 2]), np.array([15, 26, 13, 26, 18, 22]))  # at 13 a series is 4 long

    read = look_up(without_features(panel, scaling), ends)
    fitted_on = scaled(layer, read["context"][..., 0], read["context"][..., 1])
    context, known = read_contexts(panel, ends, 8)
    centre, scale = scaling.window_parameters(context, known, [panel.series[s] for s in ends.series])
    forecast_from = scaled(layer, scaling.scale(context, centre, scale), known)

    np.testing.assert_array_equal(read["context"][..., 1], known)
    np.testing.assert_allclose(fitted_on[0], forecast_from[0], atol=1e-4)
    np.testing.assert_allclose(fitted_on[1], forecast_from[1], rtol=1e-5, atol=1e-5)


def test_what_is_gathered_of_another_future_is_the_same_up_to_the_cutoff() -> None:
    told = np.random.default_rng(5).normal(size=20).cumsum()
    panel = panel_of([told], frequency="D", align="end")
    another_future = replace(panel, values=np.where(np.arange(20) > 14, 1e9, told))
    ends = Windows(np.zeros(3, np.int64), np.array([9, 10, 11]))

    one, other = (
        look_up(
            without_features(known.until(14), fit_scaling(known.until(14), kind="last", per_series=False, season=1)),
            ends,
        )
        for known in (panel, another_future)
    )

    for name in ("context", "later"):
        np.testing.assert_array_equal(one[name], other[name])
