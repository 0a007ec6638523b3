"""Scaling: its numbers, its exact inverse, what it makes of gaps, and that it is fitted up to the cutoff only."""

import json
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pipeline.preprocessing.scaling import Scaling, all_positive, fit_parameters, fit_scaling, scaling_from_dict
from tests.support.examples import small_panel
from tests.support.panels import panel_of

NAN = float("nan")

Array = npt.NDArray[np.float64]

CENTRED = ("seasonal", "last", "standard", "min-max")
KINDS = (*CENTRED, "mean", "log")
EACH = pytest.mark.parametrize("kind", KINDS)
BY = pytest.mark.parametrize("per_series", [False, True], ids=["by window", "by series"])


def scaling_of(kind: str, history: list[float], *, per_series: bool, season: int = 2) -> Scaling:
    """Fitted on one series, a."""
    return fit_scaling(panel_of({"a": history}, frequency="D"), kind=kind, per_series=per_series, season=season)


def size_of(scaling: Scaling, context: Array | list[list[float]], name: str = "a") -> tuple[Array, Array]:
    """Centre and scale of windows of one series; gaps are not known."""
    told = np.array(context, float)
    return scaling.window_parameters(told, ~np.isnan(told), [name] * len(told))


def test_by_window_a_network_reads_values_around_the_mean_in_mean_magnitudes() -> None:
    scaling = scaling_of("last", [0], per_series=False)

    centre, scale = size_of(scaling, [[-2, 4, 4], [10, 20, 60]])

    assert centre.tolist() == [[2], [30]]
    assert scale.tolist() == [[10 / 3], [30]]
    np.testing.assert_allclose(scaling.scale(np.array([[-2.0, 4, 4]]), centre[:1], scale[:1]), [[-1.2, 0.6, 0.6]])


@pytest.mark.parametrize("kind", ["mean", "log"])
def test_what_keeps_the_zero_is_not_centred(kind: str) -> None:
    scaling = scaling_of(kind, [1], per_series=False)

    centre, scale = size_of(scaling, [[1, 2, 6]])

    assert (centre.tolist(), scale.tolist()) == ([[0]], [[3]])
    expected = [1 / 3, 2 / 3, 2] if kind == "mean" else [math.log(1 / 3), math.log(2 / 3), math.log(2)]
    np.testing.assert_allclose(scaling.scale(np.array([[1.0, 2, 6]]), centre, scale), [expected])


@pytest.mark.parametrize(
    ("kind", "history", "centre", "scale"),
    [
        ("seasonal", [1, 10, 3, 14], 8.5, 3),  # seasonal differences 2 and 4
        ("last", [1, 3, 7], 7, 3),  # differences 2 and 4
        ("mean", [-1, 3], 0, 2),
        ("standard", [1, 3], 2, 1),
        ("min-max", [2, 6, 4], 2, 4),
        ("log", [1, math.e, math.e**3], 3, 1.5),  # of the logarithms 0, 1 and 3
    ],
)
def test_by_series_centre_and_scale_are_those_of_its_history(
    kind: str, history: list[float], centre: float, scale: float
) -> None:
    scaling = scaling_of(kind, history, per_series=True)

    assert scaling.fitted["a"] == pytest.approx((centre, scale))
    assert size_of(scaling, [[1, 99], [5, 7]])[0].ravel().tolist() == pytest.approx([centre] * 2)


def test_min_max_brings_the_fitted_values_between_zero_and_one() -> None:
    scaling = scaling_of("min-max", [2, 6, 4], per_series=True)

    centre, scale = size_of(scaling, [[2, 4]])

    assert scaling.scale(np.array([[2.0, 4, 6, 8]]), centre, scale).tolist() == [[0, 0.5, 1, 1.5]]
    assert scaling.unscale(np.array([[1.5, 1, 0]]), centre, scale).tolist() == [[8, 6, 2]]


@pytest.mark.parametrize(("kind", "oracle"), [("min-max", MinMaxScaler()), ("standard", StandardScaler())])
def test_fitted_scalings_agree_with_scikit_learn(kind: str, oracle: MinMaxScaler | StandardScaler) -> None:
    values = np.random.default_rng(0).normal(50, 7, 40)
    scaling = scaling_of(kind, values.tolist(), per_series=True)

    numbers = scaling.scale(values[None], *size_of(scaling, values[None]))

    np.testing.assert_allclose(numbers[0], oracle.fit_transform(values[:, None])[:, 0])


@pytest.mark.parametrize("season", [1, 3, 7])
def test_seasonal_agrees_with_a_loop(season: int) -> None:
    values = np.random.default_rng(1).normal(size=21)

    differences = [abs(values[t] - values[t - season]) for t in range(season, len(values))]
    expected = (sum(values[-season:]) / season, sum(differences) / len(differences))
    assert fit_parameters("seasonal", values, season) == pytest.approx(expected)


def test_a_series_of_a_season_or_less_is_scaled_by_its_steps() -> None:
    assert fit_parameters("seasonal", np.array([1.0, 2, 4]), 3) == (4, 1.5)


def test_gaps_are_left_out_of_the_fit() -> None:
    assert scaling_of("min-max", [1, NAN, 3], per_series=True).fitted == {"a": (1.0, 2.0)}
    assert scaling_of("standard", [1, NAN, 3], per_series=True).fitted == {"a": (2.0, 1.0)}


def test_across_a_gap_the_seasons_stay_a_season_apart() -> None:
    centre, scale = scaling_of("seasonal", [0, 10, 0, 10, NAN, 10, 0, 14], per_series=True).fitted["a"]

    assert (centre, scale) == (7, 1)  # seasonal differences 0, 0, 0 and 4


@EACH
@BY
def test_what_is_not_known_changes_nothing(kind: str, per_series: bool) -> None:
    context = np.array([[1.0, 4, 2, 8], [3, 9, 5, 5]])
    known = np.array([[True, False, True, True], [False, True, True, False]])
    other = np.where(known, context, [[7e5], [1e-5]])
    scaling = scaling_of(kind, [1, 4, 2, 8], per_series=per_series)

    for name in ("a", "new"):
        one, another = (scaling.window_parameters(told, known, [name] * 2) for told in (context, other))
        np.testing.assert_array_equal(one, another)


def windows(kind: str, seed: int, magnitude: float) -> Array:
    """Values of which there are logarithms where they are taken, otherwise of either sign."""
    return magnitude * np.random.default_rng(seed).uniform(0.01 if kind == "log" else -1, 1, (5, 8))


@EACH
@BY
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_the_inverse_is_exact_over_twelve_orders_of_magnitude(
    kind: str, per_series: bool, seed: int, exponent: float
) -> None:
    context = windows(kind, seed, 10**exponent)
    scaling = scaling_of(kind, context[0].tolist(), per_series=per_series, season=3)
    centre, scale = size_of(scaling, context)

    numbers = scaling.scale(context, centre, scale)

    np.testing.assert_allclose(scaling.unscale(numbers, centre, scale), context, rtol=1e-6)
    as_network_reads = numbers.astype(np.float32).astype(float)
    largest = np.abs(context).max(axis=1, keepdims=True)
    np.testing.assert_allclose(scaling.unscale(as_network_reads, centre, scale) / largest, context / largest, atol=1e-6)
    if kind in ("mean", "log"):
        np.testing.assert_allclose(scaling.unscale(as_network_reads, centre, scale), context, rtol=1e-6)


@pytest.mark.parametrize("kind", CENTRED)
@BY
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_single_precision_keeps_a_movement_that_is_a_millionth_of_the_level(
    kind: str, per_series: bool, seed: int, exponent: float
) -> None:
    level, movement = 10**exponent, 10 ** (exponent - 6)
    context = level + windows(kind, seed, movement)
    scaling = scaling_of(kind, context[0].tolist(), per_series=per_series)
    centre, scale = size_of(scaling, context)

    numbers = scaling.scale(context, centre, scale).astype(np.float32)

    np.testing.assert_allclose(
        scaling.unscale(numbers.astype(float), centre, scale), context, rtol=0, atol=1e-6 * movement
    )


@BY
@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6))
def test_as_logarithms_every_value_of_a_window_over_eight_orders_of_magnitude_comes_back(
    per_series: bool, seed: int
) -> None:
    context = 10 ** np.random.default_rng(seed).uniform(-4, 4, (3, 8))
    scaling = scaling_of("log", context[0].tolist(), per_series=per_series)
    centre, scale = size_of(scaling, context)

    numbers = scaling.scale(context, centre, scale).astype(np.float32)

    np.testing.assert_allclose(scaling.unscale(numbers.astype(float), centre, scale), context, rtol=2e-6)


@EACH
@BY
@pytest.mark.parametrize("value", [0.0, 5.0, -1e6, 0.1])
def test_a_constant_series_stays_constant(kind: str, per_series: bool, value: float) -> None:
    value = abs(value) + 1 if kind == "log" else value
    scaling = scaling_of(kind, [value] * 6, per_series=per_series)
    context = np.full((1, 6), value)
    centre, scale = size_of(scaling, context)

    numbers = scaling.scale(context, centre, scale)

    assert (scale > 0).all()
    assert (numbers == numbers[0, 0]).all()
    if kind != "mean":
        np.testing.assert_allclose(numbers, 0, atol=1e-12)
        np.testing.assert_allclose(scaling.unscale(np.zeros((1, 3)), centre, scale), value, rtol=1e-12)
    np.testing.assert_allclose(scaling.unscale(numbers, centre, scale), value, rtol=1e-12)


@pytest.mark.parametrize("kind", CENTRED)
@pytest.mark.parametrize("value", [0.0, 5.0, -1e6])
def test_the_scale_of_a_constant_history_is_one(kind: str, value: float) -> None:
    assert scaling_of(kind, [value] * 6, per_series=True).fitted == {"a": (value, 1)}


@pytest.mark.parametrize("value", [5.0, -1e6, 1e-9])
@pytest.mark.parametrize(
    "per_series",
    [
        False,
        True,
    ],
    ids=["by window", "by series"],
)
def test_the_mean_magnitude_of_a_constant_series_is_that_of_its_value(per_series: bool, value: float) -> None:
    _, scale = size_of(scaling_of("mean", [value] * 6, per_series=per_series), [[value] * 6])

    np.testing.assert_allclose(scale, abs(value))


@pytest.mark.parametrize("kind", ["min-max", "standard"])
def test_rounding_does_not_make_a_constant_series_vary(kind: str) -> None:
    scaling = fit_scaling(small_panel([0.1] * 3), kind=kind, per_series=True, season=1)

    assert scaling.fitted == {"small": (0.1, 1.0)}


@EACH
@BY
def test_a_series_a_thousand_times_larger_looks_the_same_to_the_network(kind: str, per_series: bool) -> None:
    context = [1.0, 4, 2, 8, 5, 7]
    read = []
    for told in (context, [1000 * value for value in context]):
        scaling = scaling_of(kind, told, per_series=per_series)
        read.append(scaling.scale(np.array([told]), *size_of(scaling, [told])))

    np.testing.assert_allclose(*read, rtol=1e-12, atol=1e-12)


@EACH
@BY
def test_a_changed_future_changes_no_scaling_fitted_up_to_the_cutoff(kind: str, per_series: bool) -> None:
    panel = panel_of({"a": [1, 4, 2, 8, 5, 7], "b": [3, 1, 4, 1, 5, 9]}, frequency="D")
    another_future = panel_of({"a": [1, 4, 2, 8, 1e-9, 1e9], "b": [3, 1, 4, 1, 1e12, 2]}, frequency="D")

    fitted, likewise = (
        fit_scaling(one.until(3), kind=kind, per_series=per_series, season=2) for one in (panel, another_future)
    )

    assert fitted == likewise
    np.testing.assert_array_equal(
        fitted.series_parameters(panel.until(3)), likewise.series_parameters(another_future.until(3))
    )
    assert fit_scaling(panel, kind=kind, per_series=True, season=2) != fit_scaling(
        another_future, kind=kind, per_series=True, season=2
    )


@EACH
def test_a_window_scales_itself_by_its_context_alone(kind: str) -> None:
    context = [[1.0, 4, 2, 8]]

    one, other = (scaling_of(kind, history, per_series=False) for history in ([1, 2], [1e-9, 1e9]))

    assert one == other
    np.testing.assert_array_equal(size_of(one, context), size_of(other, context))


@EACH
def test_no_window_changes_another(kind: str) -> None:
    scaling = scaling_of(kind, [1, 2], per_series=False)

    alone, beside = size_of(scaling, [[1, 4, 2, 8]]), size_of(scaling, [[1e9] * 4, [1, 4, 2, 8]])

    for one, two in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, two[1:])


def test_each_window_takes_the_parameters_of_its_own_series() -> None:
    scaling = fit_scaling(
        panel_of({"a": [0, 10], "b": [100, 300]}, frequency="D"), kind="min-max", per_series=True, season=1
    )

    centre, scale = scaling.window_parameters(np.zeros((3, 2)), np.ones((3, 2), bool), ["a", "b", "a"])

    assert centre.ravel().tolist() == [0, 100, 0]
    assert scale.ravel().tolist() == [10, 200, 10]


@EACH
def test_a_series_that_was_not_there_at_the_fit_is_taken_by_its_window(kind: str) -> None:
    scaling = scaling_of(kind, [100, 300], per_series=True)

    centre, scale = size_of(scaling, [[2, NAN, 6, 5]], name="new")

    expected = scaling_of(kind, [2, NAN, 6, 5], per_series=True).fitted["a"]
    assert (centre[0, 0], scale[0, 0]) == expected != scaling.fitted["a"]


@EACH
@BY
def test_no_windows_have_no_sizes(kind: str, per_series: bool) -> None:
    scaling = scaling_of(kind, [1, 2], per_series=per_series)

    assert [one.shape for one in size_of(scaling, np.empty((0, 4)))] == [(0, 1), (0, 1)]


@EACH
def test_each_series_has_its_own_parameters_and_one_that_was_not_there_those_of_its_values(kind: str) -> None:
    rows = {"a": [1.0, NAN, 2, 8], "b": [300.0, 100, 200, 700], "c": [5.0, 5]}
    scaling = fit_scaling(
        panel_of({"a": rows["a"], "b": rows["b"]}, frequency="D"), kind=kind, per_series=True, season=2
    )

    centre, scale = scaling.series_parameters(panel_of({**rows}, frequency="D"))

    for s, row in enumerate(rows.values()):
        own = fit_scaling(panel_of({"a": row}, frequency="D"), kind=kind, per_series=True, season=2).fitted["a"]
        assert (centre[s], scale[s]) == own


@EACH
@BY
def test_a_scaling_comes_back_from_json_as_it_was(kind: str, per_series: bool) -> None:
    scaling = fit_scaling(
        panel_of({"a": [0.1, 1 / 3], "b": [1e-9, 1e15]}, frequency="D"), kind=kind, per_series=per_series, season=2
    )

    assert scaling_from_dict(json.loads(json.dumps(scaling.as_dict()))) == scaling


def test_logarithms_want_every_value_positive() -> None:
    assert all_positive([1.0, NAN, 2.0])
    assert not all_positive(np.array([1.0, 0.0]))
    assert not all_positive(np.array([1.0, -1.0]))


@BY
def test_a_value_without_a_logarithm_is_a_gap_and_a_window_with_one_is_not_read(per_series: bool) -> None:
    panel = panel_of({"a": [1, 0, 4, -3, 8]}, frequency="D")
    contexts = np.array([[1.0, 4], [0, 4], [4, -3]])

    logarithms = scaling_of("log", [1, 4, 8], per_series=per_series)

    np.testing.assert_array_equal(logarithms.mask_unusable(panel).values, [1, NAN, 4, NAN, 8])
    assert logarithms.are_usable(contexts).tolist() == [True, False, False]
    assert scaling_of("log", [1, 0, 4, -3, 8], per_series=per_series) == scaling_of(
        "log", [1, NAN, 4, NAN, 8], per_series=per_series
    )
    others = scaling_of("last", [1, 4, 8], per_series=per_series)
    assert others.mask_unusable(panel) is panel
    assert others.are_usable(contexts).all()
