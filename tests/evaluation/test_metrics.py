"""Measures of error: values checked by hand, then against scikit-learn or a loop."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from pipeline.evaluation.metrics import COVERAGE_80, MAE, MASE, SMAPE, EvaluationSet, rmse, seasonal_scale
from pipeline.timeseries.forecast import LEVELS, LOWER_80, UPPER_80

NAN = float("nan")

Array = npt.NDArray[np.float64]


def row(*values: float) -> Array:
    return np.array([values])


def mae(observed: Array, forecast: Array) -> float:
    return float(MAE.over(EvaluationSet.of_points(observed, forecast)))


def smape(observed: Array, forecast: Array) -> float:
    return float(SMAPE.over(EvaluationSet.of_points(observed, forecast)))


def mase(observed: Array, forecast: Array, scale: Array | float) -> float:
    return float(MASE.over(EvaluationSet.of_points(observed, forecast, scale)))


def coverage(observed: Array, lower: Array, upper: Array) -> float:
    quantiles = np.zeros((*observed.shape, len(LEVELS)))
    quantiles[..., LOWER_80], quantiles[..., UPPER_80] = lower, upper
    points = EvaluationSet.of_points(observed, np.zeros(observed.shape))
    return float(COVERAGE_80.over(replace(points, quantiles=quantiles)))


def test_rmse_is_the_root_of_the_mean_square() -> None:
    assert rmse(row(1, 2), row(4, 6)) == pytest.approx(math.sqrt((9 + 16) / 2))


def test_mae_is_the_mean_magnitude() -> None:
    assert mae(row(1, 2), row(4, -2)) == 3.5


def test_smape_is_two_hundred_at_most_and_nothing_over_nothing_counts_zero() -> None:
    assert smape(row(1), row(3)) == 100
    assert smape(row(5), row(0)) == 200
    assert smape(row(0, 5), row(0, 5)) == 0


def test_mase_divides_by_the_scale_of_each_series() -> None:
    observed, forecast = np.array([[1.0, 2], [10, 20]]), np.array([[2.0, 4], [20, 40]])

    assert mase(observed, forecast, np.array([[1.0], [10.0]])) == 1.5
    assert mase(observed[:1], forecast[:1], 3.0) == 0.5


def test_a_series_without_a_scale_is_left_out_of_mase() -> None:
    observed, forecast = np.array([[1.0], [10]]), np.array([[2.0], [20]])

    assert mase(observed, forecast, np.array([[1.0], [0.0]])) == 1
    assert mase(observed, forecast, np.array([[1.0], [NAN]])) == 1
    assert math.isnan(mase(observed, forecast, 0.0))


def test_the_seasonal_scale_is_the_mean_change_since_the_season_before() -> None:
    assert seasonal_scale(np.array([1.0, 2, 4, 8]), 1) == pytest.approx(7 / 3)
    assert seasonal_scale(np.array([1.0, 2, 4, 8]), 2) == 4.5
    assert seasonal_scale(np.array([1.0, NAN, 4, 8]), 2) == 3


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_history_of_a_season_or_less_has_no_seasonal_scale(length: int) -> None:
    assert math.isnan(seasonal_scale(np.ones(length), 2))


def test_the_seasonal_naive_forecast_of_the_history_itself_has_mase_one() -> None:
    history = np.random.default_rng(0).normal(size=50)

    assert mase(history[7:], history[:-7], seasonal_scale(history, 7)) == pytest.approx(1)


def test_bounds_are_covered() -> None:
    assert coverage(row(1, 2, 3, 4), row(1, 0, 4, 0), row(2, 2, 5, 3)) == 0.5


def test_what_is_not_observed_or_not_forecast_is_left_out() -> None:
    observed, forecast = row(1, NAN, 3, 4), row(2, 2, NAN, 4)

    assert rmse(observed, forecast) == pytest.approx(math.sqrt(0.5))
    assert mae(observed, forecast) == 0.5
    assert smape(observed, forecast) == pytest.approx(100 / 3)
    assert mase(observed, forecast, 2.0) == 0.25
    assert coverage(observed, forecast - 1, forecast + 1) == 1


@pytest.mark.parametrize(
    "measured",
    [
        rmse(row(NAN), row(1)),
        mae(row(NAN), row(1)),
        smape(row(NAN), row(1)),
        mase(row(NAN), row(1), 1.0),
        coverage(row(NAN), row(1), row(2)),
        rmse(row(), row()),
    ],
)
def test_nothing_to_measure_gives_nan(measured: float) -> None:
    assert math.isnan(measured)


numbers = st.floats(-1e6, 1e6, allow_nan=False)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20).map(np.array)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pair=pairs)
def test_rmse_and_mae_agree_with_scikit_learn(pair: Array) -> None:
    observed, forecast = pair.T

    assert rmse(observed, forecast) == pytest.approx(root_mean_squared_error(observed, forecast))
    assert mae(observed, forecast) == pytest.approx(mean_absolute_error(observed, forecast))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pair=pairs)
def test_smape_agrees_with_a_loop_and_treats_both_sides_alike(pair: Array) -> None:
    observed, forecast = pair.T

    shares = [2 * abs(y - f) / (abs(y) + abs(f)) if y or f else 0.0 for y, f in pair]
    assert smape(observed, forecast) == pytest.approx(100 * sum(shares) / len(shares))
    assert smape(observed, forecast) == pytest.approx(smape(forecast, observed))
    assert 0 <= smape(observed, forecast) <= 200 * (1 + 1e-12)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(history=st.lists(numbers, min_size=1, max_size=20), season=st.integers(1, 12))
def test_the_seasonal_scale_agrees_with_a_loop(history: list[float], season: int) -> None:
    changes = [abs(history[t] - history[t - season]) for t in range(season, len(history))]

    expected = sum(changes) / len(changes) if changes else NAN
    assert seasonal_scale(np.array(history), season) == pytest.approx(expected, nan_ok=True)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(pair=pairs, width=st.floats(0, 1e6))
def test_coverage_agrees_with_counting(pair: Array, width: float) -> None:
    observed, centre = pair.T

    inside = sum(1 for y, f in pair if f - width <= y <= f + width)
    assert coverage(observed, centre - width, centre + width) == pytest.approx(inside / len(pair))
