"""Scaling: its numbers, its exact inverse, and that it is fitted up to the cutoff only."""

import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from pipeline.panel import Panel
from pipeline.scaling import WindowScale, fit_scaler, scaler_from_dict
from tests.examples import small_panel

KINDS = ("seasonal", "last", "min-max", "standard")


def panel_of(**rows: list[float]) -> Panel:
    lengths = [len(row) for row in rows.values()]
    days = np.arange(max(lengths))
    return Panel(
        series=tuple(rows),
        grid=np.datetime64("2020-01-01", "us") + days * np.timedelta64(1, "D"),
        first=np.zeros(len(rows), np.int64),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        values=np.concatenate([np.array(row, dtype=float) for row in rows.values()]),
    )


def scale_of(
    kind: str, history: list[float], context: list[float], *, season: int = 2, horizon: int = 3
) -> WindowScale:
    """The scale of one window of a series fitted on `history`."""
    scaler = fit_scaler(panel_of(a=history), kind=kind, season=season, horizon=horizon)
    return scaler.of_windows(np.array([context], dtype=float), ("a",), np.array([0]))


def test_seasonal_centres_on_the_last_season_and_asks_for_the_change_since_then() -> None:
    scale = scale_of("seasonal", [0], [1, 10, 3, 14])  # seasonal differences 2 and 4

    assert scale.centre.tolist() == [[8.5]]
    assert scale.scale.tolist() == [[3]]
    assert scale.base.tolist() == [[3, 14, 3]]
    np.testing.assert_allclose(scale.inputs(np.array([[1.0, 10, 3, 14]]))[0, :, 0], [-2.5, 0.5, -5.5 / 3, 5.5 / 3])
    np.testing.assert_allclose(scale.targets(np.array([[6.0, 14, 0]])), [[1, 0, -1]])


def test_last_asks_for_the_change_since_the_last_value() -> None:
    scale = scale_of("last", [0], [1, 3, 7])  # differences 2 and 4

    assert scale.centre.tolist() == [[7]]
    assert scale.scale.tolist() == [[3]]
    assert scale.base.tolist() == [[7, 7, 7]]


def test_min_max_brings_the_fitted_values_between_zero_and_one() -> None:
    scale = scale_of("min-max", [2, 6, 4], [2, 4])

    assert scale.inputs(np.array([[2.0, 4, 6]]))[0, :, 0].tolist() == [0, 0.5, 1]
    assert scale.targets(np.array([[8.0, 6, 2]])).tolist() == [[1.5, 1, 0]]


def test_standard_divides_by_the_deviation_of_the_whole_series() -> None:
    scale = scale_of("standard", [1, 3], [1, 3])

    assert scale.centre.tolist() == [[2]]
    assert scale.scale.tolist() == [[1]]


@pytest.mark.parametrize(("kind", "oracle"), [("min-max", MinMaxScaler()), ("standard", StandardScaler())])
def test_fitted_scalers_agree_with_scikit_learn(kind: str, oracle: MinMaxScaler | StandardScaler) -> None:
    values = np.random.default_rng(0).normal(50, 7, 40)

    scale = scale_of(kind, values.tolist(), values.tolist())

    np.testing.assert_allclose(scale.inputs(values[None])[0], oracle.fit_transform(values[:, None]))


@pytest.mark.parametrize("season", [1, 3, 7])
def test_seasonal_agrees_with_a_loop(season: int) -> None:
    context = np.random.default_rng(1).normal(size=21)

    scale = scale_of("seasonal", [0], context.tolist(), season=season, horizon=9)

    differences = [abs(context[t] - context[t - season]) for t in range(season, len(context))]
    assert scale.scale[0, 0] == pytest.approx(sum(differences) / len(differences))
    assert scale.centre[0, 0] == pytest.approx(sum(context[-season:]) / season)
    assert scale.base[0].tolist() == [context[len(context) - season + h % season] for h in range(9)]


def test_gaps_are_left_out_of_the_fit() -> None:
    scaler = fit_scaler(panel_of(a=[1, float("nan"), 3]), kind="min-max", season=1, horizon=1)

    assert scaler.fitted == {"a": (1.0, 2.0)}


def windows(seed: int, magnitude: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return magnitude * rng.uniform(-1, 1, (5, 8)), magnitude * rng.uniform(-1, 1, (5, 3))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), exponent=st.floats(-6, 6))
def test_the_inverse_is_exact_over_twelve_orders_of_magnitude(kind: str, seed: int, exponent: float) -> None:
    context, target = windows(seed, 10**exponent)
    scaler = fit_scaler(panel_of(a=context[0].tolist()), kind=kind, season=3, horizon=3)

    scale = scaler.of_windows(context, ("a",), np.zeros(5, np.int64))

    np.testing.assert_allclose(scale.values(scale.targets(target)), target, rtol=1e-6)
    np.testing.assert_allclose(scale.inputs(context)[:, :, 0] * scale.scale + scale.centre, context, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 5.0, -1e6])
def test_a_constant_series_has_scale_one_and_stays_constant(kind: str, value: float) -> None:
    scale = scale_of(kind, [value] * 6, [value] * 6)

    assert scale.scale.tolist() == [[1]]
    assert scale.inputs(np.full((1, 6), value)).ravel().tolist() == [0] * 6
    assert scale.values(np.zeros((1, 3))).tolist() == [[value] * 3]


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_series_that_has_no_exact_binary_value_comes_back(kind: str) -> None:
    scale = scale_of(kind, [0.1] * 6, [0.1] * 6)

    np.testing.assert_allclose(scale.values(scale.targets(np.full((1, 3), 0.1))), 0.1, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_a_thousand_times_larger_looks_the_same_to_the_network(kind: str) -> None:
    context = [1.0, 4, 2, 8, 5, 7]
    larger = [1000 * value for value in context]

    one, other = scale_of(kind, context, context), scale_of(kind, larger, larger)

    np.testing.assert_allclose(one.inputs(np.array([context])), other.inputs(np.array([larger])))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_future_changes_no_scaler_fitted_up_to_the_cutoff(kind: str) -> None:
    panel = panel_of(a=[1, 4, 2, 8, 5, 7], b=[3, 1, 4, 1, 5, 9])
    another_future = panel_of(a=[1, 4, 2, 8, -1e9, 1e9], b=[3, 1, 4, 1, 1e12, 0])

    fitted = fit_scaler(panel.until(3), kind=kind, season=2, horizon=2)

    assert fitted == fit_scaler(another_future.until(3), kind=kind, season=2, horizon=2)
    assert fit_scaler(panel, kind="min-max", season=2, horizon=2) != fit_scaler(
        another_future, kind="min-max", season=2, horizon=2
    )


@pytest.mark.parametrize("kind", ["seasonal", "last"])
def test_a_window_scales_itself_by_its_context_alone(kind: str) -> None:
    context = [1.0, 4, 2, 8]

    one, other = scale_of(kind, [0, 1], context), scale_of(kind, [-1e9, 1e9], context)

    for name in ("centre", "scale", "base"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_each_window_takes_the_parameters_of_its_own_series() -> None:
    scaler = fit_scaler(panel_of(a=[0, 10], b=[100, 300]), kind="min-max", season=1, horizon=1)

    scale = scaler.of_windows(np.zeros((3, 2)), ("b", "a"), np.array([1, 0, 1]))

    assert scale.centre.ravel().tolist() == [0, 100, 0]
    assert scale.scale.ravel().tolist() == [10, 200, 10]


def test_a_series_that_was_not_there_takes_the_mean_of_the_others() -> None:
    scaler = fit_scaler(panel_of(a=[0, 10], b=[100, 300]), kind="min-max", season=1, horizon=1)

    scale = scaler.of_windows(np.zeros((1, 2)), ("new",), np.array([0]))

    assert (scale.centre[0, 0], scale.scale[0, 0]) == (50, 105)


@pytest.mark.parametrize("kind", KINDS)
def test_a_scaler_comes_back_from_json_as_it_was(kind: str) -> None:
    scaler = fit_scaler(panel_of(a=[0.1, 1 / 3], b=[1e-9, 1e15]), kind=kind, season=2, horizon=4)

    assert scaler_from_dict(json.loads(json.dumps(scaler.as_dict()))) == scaler


@pytest.mark.parametrize("kind", ["min-max", "standard"])
def test_rounding_does_not_make_a_constant_series_vary(kind: str) -> None:
    scaler = fit_scaler(small_panel([0.1] * 3), kind=kind, season=1, horizon=1)

    assert scaler.fitted == {"small": (0.1, 1.0)}
