"""Backtest: scores over a test part, the scales of MASE, and the width of the intervals."""

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from pipeline.evaluation.holdout import HoldoutBacktest, fit_interval_widths, seasonal_scales, skill_score
from pipeline.evaluation.holdout_series import build_series_errors
from pipeline.evaluation.metrics import MAE, MASE
from pipeline.forecasting.forecaster import IntervalWidths, mean_seasonal_change
from pipeline.preprocessing.windows import Windows, read_contexts, read_targets
from pipeline.timeseries.forecast import LEVELS, Forecast
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of

NAN = float("nan")

Array = npt.NDArray[np.float64]


def backtest_of(
    panel: Panel, forecast: Array, *, ends: range, context: int, horizon: int, season: int
) -> HoldoutBacktest:
    """Every series of the panel from the same origins."""
    series, end = (grid.ravel() for grid in np.meshgrid(np.arange(len(panel.series)), ends, indexing="ij"))
    windows = Windows(series, end)
    return HoldoutBacktest(
        windows=windows,
        context=read_contexts(panel, windows, context)[0],
        observed=read_targets(panel, windows, horizon),
        forecast=forecast,
        mase_scale=np.full((len(windows), 1), 2.0),
        season=season,
    )


def small_backtest() -> HoldoutBacktest:
    """1 … 8 with origins at positions 3 to 6, always forecast one too high."""
    forecast = np.array([[6.0, 7], [7, 8], [8, 9], [9, 10]])
    panel = panel_of([[1, 2, 3, 4, 5, 6, 7, 8]], frequency="D")
    return backtest_of(panel, forecast, ends=range(3, 7), context=2, horizon=2, season=2)


def test_what_was_observed_is_unknown_after_the_newest_period() -> None:
    np.testing.assert_array_equal(small_backtest().observed, [[5, 6], [6, 7], [7, 8], [8, NAN]])


def test_residuals_are_observed_minus_forecast() -> None:
    np.testing.assert_array_equal(small_backtest().residuals(), [[-1, -1], [-1, -1], [-1, -1], [-1, NAN]])


def test_origins_one_horizon_apart_forecast_each_test_period_once() -> None:
    backtest = small_backtest()

    assert backtest.is_disjoint.tolist() == [True, False, True, False]
    assert backtest.observed[backtest.is_disjoint].ravel().tolist() == [5, 6, 7, 8]


def test_every_series_is_forecast_from_the_same_origins() -> None:
    panel = panel_of([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]], frequency="D")
    backtest = backtest_of(panel, np.zeros((8, 2)), ends=range(1, 5), context=1, horizon=2, season=1)

    assert backtest.windows.series[backtest.is_disjoint].tolist() == [0, 0, 1, 1]
    assert backtest.windows.end[backtest.is_disjoint].tolist() == [1, 3, 1, 3]


def test_a_gap_counts_in_no_score_and_the_baselines_repeat_the_value_before_it() -> None:
    panel = panel_of([[1, 2, 3, NAN, 5, NAN, 7, 8]], frequency="D")
    backtest = backtest_of(panel, np.full((2, 2), 6.0), ends=range(4, 6), context=2, horizon=2, season=2)

    np.testing.assert_array_equal(backtest.observed, [[NAN, 7], [7, 8]])
    assert backtest.forecasts()["naive"].tolist() == [[5, 5], [5, 5]]
    assert backtest.forecasts()["seasonal-naive"].tolist() == [[3, 5], [5, 5]]
    assert backtest.scores()["lstm"]["mae"] == 1
    assert backtest.errors_by_step(MAE)["lstm"] == [1, 1.5]


def test_the_network_and_the_baselines_forecast_from_the_same_origins() -> None:
    forecasts = small_backtest().forecasts()

    assert list(forecasts) == ["lstm", "naive", "seasonal-naive", "drift"]
    assert forecasts["naive"].tolist() == [[4, 4], [5, 5], [6, 6], [7, 7]]
    assert forecasts["seasonal-naive"].tolist() == [[3, 4], [4, 5], [5, 6], [6, 7]]


def test_scores_are_over_the_origins_one_horizon_apart() -> None:
    scores = small_backtest().scores()

    assert scores["lstm"] == pytest.approx(
        {"rmse": 1, "mae": 1, "mase": 0.5, "smape": 50 * (1 / 5.5 + 1 / 6.5 + 1 / 7.5 + 1 / 8.5) / 2}
    )
    assert scores["naive"]["rmse"] == pytest.approx(math.sqrt((1 + 4 + 1 + 4) / 4))
    assert scores["naive"]["mae"] == 1.5
    assert scores["seasonal-naive"]["mase"] == 1


def test_errors_by_series_are_over_the_same_origins_as_the_scores() -> None:
    panel = panel_of([[1, 2, 3, 4, 5, 6, 7, 8]], frequency="D")

    errors = build_series_errors(small_backtest(), panel, "naive")

    # always one too high, in a unit of 2; the last value is 1 and 2 too low
    assert (errors.series, errors.num_scored) == (("a",), (4,))
    assert (errors.mae, errors.rmse, errors.mase) == ((1.0,), (1.0,), (0.5,))
    assert (errors.baseline_mae, errors.baseline_mase) == ((1.5,), (0.75,))


def test_errors_by_series_are_those_of_a_loop_over_series_and_leave_out_what_is_not_observed() -> None:
    rng = np.random.default_rng(0)
    panel = panel_of(rng.uniform(1, 9, (3, 8)).tolist(), frequency="D")
    forecast = rng.uniform(1, 9, (6, 2))
    backtest = backtest_of(panel, forecast, ends=range(3, 6, 2), context=2, horizon=2, season=2)
    backtest.observed[3, 1] = NAN
    backtest.observed[4:] = NAN

    errors = build_series_errors(backtest, panel, "naive")

    assert errors.series == ("a", "b")
    for s in range(2):
        made, known = forecast[2 * s : 2 * s + 2].ravel(), backtest.observed[2 * s : 2 * s + 2].ravel()
        distances = [abs(f - y) for f, y in zip(made, known, strict=True) if not math.isnan(y)]
        assert errors.num_scored[s] == len(distances)
        assert errors.mae[s] == pytest.approx(sum(distances) / len(distances))
        assert errors.rmse[s] == pytest.approx(math.sqrt(sum(d * d for d in distances) / len(distances)))
        assert errors.mase[s] == pytest.approx(sum(distances) / len(distances) / 2)


def test_the_error_of_each_step_is_over_all_origins() -> None:
    assert small_backtest().errors_by_step(MAE) == {
        "lstm": [1, 1],
        "naive": [1, 2],
        "seasonal-naive": [2, 2],
        "drift": [0, 0],
    }
    assert small_backtest().errors_by_step(MASE)["naive"] == [0.5, 1]


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(0.5, 1.0, 0.5), (2.0, 1.0, -1.0), (NAN, 1.0, None), (1.0, 0.0, None), (1.0, NAN, None)],
)
def test_skill_is_positive_where_the_network_is_better_and_none_where_undefined(
    ours: float, theirs: float, expected: float | None
) -> None:
    assert skill_score({"lstm": {"mase": ours}, "naive": {"mase": theirs}}, "naive") == expected


def test_the_scale_of_mase_is_the_seasonal_change_of_each_series() -> None:
    assert seasonal_scales(panel_of([[1, 2, 4, 8], [5, 5, 5, 5]], frequency="D"), 2).tolist() == [4.5, 0]


def test_a_series_of_a_season_or_less_is_scaled_by_its_steps() -> None:
    np.testing.assert_array_equal(seasonal_scales(panel_of([[1, 2, 4], [1, 2], [1]], frequency="D"), 3), [1.5, 1, NAN])


def test_a_changed_future_changes_no_scale_of_mase() -> None:
    panel, another_future = panel_of([[1, 2, 4, 8, 16]], frequency="D"), panel_of([[1, 2, 4, 8, -1e9]], frequency="D")

    assert seasonal_scales(panel.until(3), 2).tolist() == seasonal_scales(another_future.until(3), 2).tolist() == [4.5]
    assert seasonal_scales(panel, 2).tolist() != seasonal_scales(another_future, 2).tolist()


def test_the_width_is_a_finite_sample_quantile_of_the_magnitudes() -> None:
    residuals = np.array([[-1.0], [2], [-3], [4], [-5], [6], [-7], [8], [-9]])

    spread = fit_interval_widths(residuals, np.ones((9, 1)))

    eighth, ninth = 8, 9  # of 9: ceil(10 x 0.80) and, as ceil(10 x 0.95) is more than there are, the largest
    assert (spread.by_step * spread.at_level).tolist() == pytest.approx([-ninth, -eighth, 0, eighth, ninth])


def naive_isotonic(size: list[float], weight: list[float]) -> list[float]:
    """The max-min formula of Barlow and Brunk (1972): the best fit that never shrinks."""

    def average(i: int, j: int) -> float:
        return sum(s * w for s, w in zip(size[i : j + 1], weight[i : j + 1], strict=True)) / sum(weight[i : j + 1])

    steps = range(len(size))
    return [max(min(average(i, j) for j in steps[k:]) for i in steps[: k + 1]) for k in steps]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), horizon=st.integers(1, 6), num_windows=st.integers(1, 8))
def test_sizes_by_step_are_the_best_fit_that_never_shrinks(seed: int, horizon: int, num_windows: int) -> None:
    rng = np.random.default_rng(seed)
    residuals, scale = rng.normal(size=(num_windows, horizon)), rng.uniform(0.1, 10, (num_windows, 1))
    residuals[1:][rng.random((num_windows - 1, horizon)) < 0.3] = NAN

    spread = fit_interval_widths(residuals, scale)

    columns = [column[~np.isnan(column)] for column in (residuals / scale).T]
    size = [math.sqrt(float((column**2).mean())) for column in columns]
    np.testing.assert_allclose(spread.by_step, naive_isotonic(size, [len(column) for column in columns]))
    assert (np.diff(spread.by_step) >= 0).all()


@pytest.mark.parametrize("seed", range(200))
def test_sizes_by_step_are_those_of_scikit_learn_but_for_rounding(seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_windows, horizon = int(rng.integers(1, 30)), int(rng.integers(1, 15))
    residuals, scale = rng.standard_t(3, (num_windows, horizon)), rng.uniform(0.1, 10, (num_windows, 1))
    residuals[rng.random(residuals.shape) < 0.3] = NAN
    residuals[:, rng.random(horizon) < 0.2] = NAN  # steps that were never observed
    residuals[0, rng.integers(horizon)] = 1.0

    by_step = fit_interval_widths(residuals, scale).by_step

    count = (~np.isnan(residuals)).sum(axis=0)
    size = np.sqrt(np.nansum((residuals / scale) ** 2, axis=0) / np.maximum(count, 1))
    steps, observed = np.arange(horizon), np.flatnonzero(count)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(observed, size[observed], sample_weight=count[observed])
    np.testing.assert_allclose(by_step, theirs.predict(steps), rtol=1e-15, atol=0)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), horizon=st.integers(1, 6), num_windows=st.integers(1, 60))
def test_intervals_never_shrink_with_the_step_and_never_cross(seed: int, horizon: int, num_windows: int) -> None:
    rng = np.random.default_rng(seed)
    spread = fit_interval_widths(rng.standard_t(3, (num_windows, horizon)), np.ones((num_windows, 1)))
    mean = rng.normal(size=(2, horizon))

    quantiles = spread.quantiles_around(mean, rng.uniform(0.1, 10, (2, 1)))

    assert quantiles.shape == (2, horizon, len(LEVELS))
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    width = quantiles[:, :, -1] - quantiles[:, :, 0]
    assert (np.diff(width, axis=1) >= -1e-9).all()
    np.testing.assert_array_equal(quantiles[:, :, LEVELS.index(0.5)], mean)
    np.testing.assert_allclose(quantiles + quantiles[:, :, ::-1], 2 * np.repeat(mean[:, :, None], 5, axis=2))


@pytest.mark.parametrize("horizon", [1, 4])
def test_intervals_cover_their_share_of_exchangeable_residuals(horizon: int) -> None:
    rng = np.random.default_rng(20)
    growing = np.sqrt(np.arange(1, horizon + 1))
    covered = []
    for _ in range(400):
        fitted_on, later = rng.laplace(size=(2, 60, horizon)) * growing
        quantiles = fit_interval_widths(fitted_on, np.ones((60, 1))).quantiles_around(
            np.zeros((60, horizon)), np.ones((60, 1))
        )
        covered.append(
            [
                ((quantiles[:, :, 1] <= later) & (later <= quantiles[:, :, 3])).mean(),
                ((quantiles[:, :, 0] <= later) & (later <= quantiles[:, :, 4])).mean(),
            ]
        )

    np.testing.assert_allclose(np.mean(covered, axis=0), [0.80, 0.95], atol=0.015)


def test_the_spread_is_the_same_in_any_unit() -> None:
    residuals = np.random.default_rng(0).normal(size=(30, 3))
    scale = np.random.default_rng(1).uniform(1, 5, (30, 1))

    one, other = fit_interval_widths(residuals, scale), fit_interval_widths(1000 * residuals, 1000 * scale)

    np.testing.assert_allclose(one.by_step, other.by_step)
    np.testing.assert_allclose(one.at_level, other.at_level)


def test_a_step_that_was_never_observed_is_as_wide_as_the_one_before() -> None:
    residuals = np.array([[1.0, 2, NAN], [-1, -2, NAN]])

    assert fit_interval_widths(residuals, np.ones((2, 1))).by_step.tolist() == pytest.approx([1, 2, 2])


def test_forecasts_that_were_never_wrong_have_intervals_of_no_width() -> None:
    spread = fit_interval_widths(np.zeros((5, 2)), np.ones((5, 1)))

    assert spread.quantiles_around(np.array([[3.0, 4]]), np.ones((1, 1))).tolist() == [[[3] * 5, [4] * 5]]


def test_what_a_spread_puts_around_a_mean_can_be_published() -> None:
    spread = IntervalWidths(by_step=np.array([1.0, 2]), at_level=np.array([-3.0, -1, 0, 1, 3]))

    quantiles = spread.quantiles_around(np.array([[10.0, 20]]), np.array([[2.0]]))

    assert quantiles.tolist() == [[[4, 8, 10, 12, 16], [8, 16, 20, 24, 32]]]
    Forecast(
        series=("a",),
        origin=np.datetime64("2020-01-01", "us"),
        periods=np.array(["2020-01-02", "2020-01-03"], dtype="datetime64[us]"),
        mean=quantiles[:, :, 2],
        quantiles=quantiles,
        method=("lstm",),
        reason=(None,),
        baseline=quantiles[:, :, 2],
        scale=np.ones(1),
    )


def test_nothing_observed_gives_intervals_of_no_width() -> None:
    spread = fit_interval_widths(np.full((2, 3), np.nan), np.ones((2, 1)))

    assert not spread.by_step.any()


@pytest.mark.parametrize("season", [1, 3])
def test_the_volatility_of_a_window_is_the_mean_seasonal_change_between_known_values(season: int) -> None:
    rng = np.random.default_rng(season)
    context, known = rng.normal(size=(20, 12)), rng.random((20, 12)) < 0.8

    found = mean_seasonal_change(context, known, season)

    for n in range(20):
        pairs = [t for t in range(season, 12) if known[n, t] and known[n, t - season]]
        expected = sum(abs(context[n, t] - context[n, t - season]) for t in pairs) / len(pairs)
        np.testing.assert_allclose(found[n], expected)


def test_a_window_of_a_season_or_less_is_as_volatile_as_its_steps() -> None:
    context = np.array([[1.0, 3, 7]])

    assert mean_seasonal_change(context, np.ones((1, 3), bool), 3).tolist() == [[3]]
    assert mean_seasonal_change(context[:, :1], np.ones((1, 1), bool), 3).tolist() == [[1]]


def test_a_constant_window_has_a_volatility_of_one() -> None:
    assert mean_seasonal_change(np.full((2, 6), 5.0), np.ones((2, 6), bool), 2).tolist() == [[1], [1]]


def test_a_window_in_which_no_season_is_known_twice_is_as_volatile_as_its_steps() -> None:
    context, known = np.array([[2e6, 2e6, 3e6, 5e6, 8e6]]), np.array([[False, True, True, True, True]])

    assert mean_seasonal_change(context, known, 4).tolist() == [[2e6]]


def test_what_is_published_is_scored_and_intervals_are_of_the_network_s_own_errors() -> None:
    """A baseline that was right is published for the second step, whose covariate is not known."""
    usual = small_backtest()
    published = np.where(np.array([False, True]), usual.observed, usual.forecast)
    partly = replace(usual, forecast=published, own_forecast=usual.forecast)

    assert partly.scores()["lstm"]["mae"] == 0.5
    np.testing.assert_array_equal(partly.residuals(), usual.residuals())
    np.testing.assert_array_equal(partly.take(partly.is_disjoint).residuals(), [[-1, -1], [-1, -1]])
