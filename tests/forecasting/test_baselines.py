"""Baselines: the last value and the value one season before."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from scipy.stats import t as student
from statsforecast.models import RandomWalkWithDrift

from pipeline.config.recipe import scale_window
from pipeline.forecasting.baselines import (
    BASELINES,
    forecast_baseline,
    forecast_drift,
    forecast_naive,
    naive,
    normal_quantiles,
    root_seasonal_scale,
    seasonal_naive,
    student_quantiles,
)
from pipeline.preprocessing.windows import Windows, read_contexts
from pipeline.timeseries.forecast import LEVELS
from tests.support.panels import panel_of

CONTEXT = np.array([[1.0, 2, 3, 4], [8, 7, 6, 5]])


def test_naive_repeats_the_last_value() -> None:
    assert naive(CONTEXT, 3).tolist() == [[4, 4, 4], [5, 5, 5]]


def test_seasonal_naive_repeats_the_last_season() -> None:
    assert seasonal_naive(CONTEXT, 5, 3).tolist() == [[2, 3, 4, 2, 3], [7, 6, 5, 7, 6]]


def test_a_season_of_one_step_is_the_naive_forecast() -> None:
    np.testing.assert_array_equal(seasonal_naive(CONTEXT, 3, 1), naive(CONTEXT, 3))


def test_a_context_of_exactly_one_season_is_repeated() -> None:
    assert seasonal_naive(CONTEXT, 4, 4).tolist() == CONTEXT.tolist()


def test_a_context_shorter_than_a_season_falls_back_to_the_last_value() -> None:
    np.testing.assert_array_equal(seasonal_naive(CONTEXT, 2, 5), naive(CONTEXT, 2))


def test_no_windows_give_no_forecasts() -> None:
    assert naive(np.empty((0, 4)), 3).shape == (0, 3)
    assert seasonal_naive(np.empty((0, 4)), 3, 2).shape == (0, 3)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(context=st.lists(st.integers(-9, 9), min_size=1, max_size=12), horizon=st.integers(1, 15), data=st.data())
def test_seasonal_naive_equals_walking_one_season_back(context: list[int], horizon: int, data: st.DataObject) -> None:
    season = data.draw(st.integers(1, len(context)))

    walked = list(context)
    for _ in range(horizon):
        walked.append(walked[-season])

    assert seasonal_naive(np.array([context], float), horizon, season)[0].tolist() == walked[len(context) :]


@pytest.mark.parametrize(("name", "expected"), [("naive", [4, 4]), ("seasonal-naive", [3, 4])])
def test_a_recipe_names_its_baseline(name: str, expected: list[float]) -> None:
    assert forecast_baseline(name, CONTEXT[:1], horizon=2, season=2).tolist() == [expected]


def walked(row: list[float], length: int, horizon: int, season: int) -> tuple[list[float], list[float], float, str]:
    """Mean, deviation, scale and method of a series of a panel of so many periods, one value after the other."""
    at = {n: value for n, value in enumerate(row) if not np.isnan(value)}
    recent = {n: value for n, value in at.items() if n >= length - scale_window(season)}
    ahead = range(length, length + horizon)
    same = {n: [n - k * season for k in range(1, 200) if n - k * season in recent] for n in ahead}
    is_seasonal = season > 1 and len(at) >= 2 * season and all(same.values())
    mean = [recent[same[n][0]] if is_seasonal else at[max(at)] for n in ahead]
    seasons = [(n - same[n][0]) // season if is_seasonal else n - max(at) for n in ahead]
    lag = season if is_seasonal else 1
    errors = [recent[n] - recent[n - lag] for n in recent if n - lag in recent]
    size = float(np.sqrt(np.mean(np.square(errors)))) if errors else 0.0
    if size == 0 and len(errors) < 4:
        size = abs(at[max(at)]) / (1 + len(errors))
    by_season = [abs(recent[n] - recent[n - season]) for n in recent if n - season in recent]
    by_period = [abs(recent[n] - recent[n - 1]) for n in recent if n - 1 in recent]
    scale = float(np.mean(by_season or by_period or [0.0]))
    method = "seasonal-naive" if is_seasonal else "naive" if max(at) == length - 1 else "last-value"
    return mean, [size * float(np.sqrt(n)) for n in seasons], scale, method


@pytest.mark.parametrize("season", [1, 4, 12])
@pytest.mark.parametrize("seed", range(4))
def test_what_repeats_is_what_one_finds_by_walking_back(season: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [rng.normal(0, 9, rng.integers(1, 90)) for _ in range(40)]
    for row in rows:
        row[:-1][rng.random(len(row) - 1) < rng.choice([0, 0, 0.1])] = np.nan
    length = max(map(len, rows))

    found = forecast_naive(panel_of([row.tolist() for row in rows], start="2000-01-01"), 2 * season + 3, season)

    for n, row in enumerate(rows):
        mean, deviation, scale, method = walked(row.tolist(), length, 2 * season + 3, season)
        assert found.method[n] == method
        np.testing.assert_allclose(found.mean[n], mean)
        np.testing.assert_allclose(found.deviation[n], deviation)
        np.testing.assert_allclose(found.scale[n], scale)


def test_what_repeats_of_many_series_is_what_repeats_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = panel_of([[1.0, 2, 3, 4, 5, 6, 7, 8], [5.0], [1.0, 2, 3]], start="2000-01-01")
    together = forecast_naive(panel, 3, 4)
    monkeypatch.setattr("pipeline.forecasting.baselines._SERIES_PER_BATCH", 1)

    apart = forecast_naive(panel, 3, 4)

    assert apart.method == together.method == ("seasonal-naive", "last-value", "last-value")
    np.testing.assert_array_equal(apart.mean, together.mean)
    np.testing.assert_array_equal(apart.deviation, together.deviation)


def awkward_rows(seed: int) -> list[list[float]]:
    """Series of one to ninety values with gaps between them."""
    rng = np.random.default_rng(seed)
    rows = [rng.normal(0, 9, rng.integers(1, 90)) for _ in range(40)]
    for row in rows:
        row[1:-1][rng.random(len(row[1:-1])) < rng.choice([0, 0, 0.1])] = np.nan
    return [row.tolist() for row in rows]


def test_drift_goes_on_along_the_line_from_the_first_to_the_last_value() -> None:
    mean, deviation = forecast_drift(panel_of([[10.0, 14, 12, 16], [5.0]], start="2000-01-01"), 2, 12)

    assert mean.tolist() == [[18, 20], [5, 5]]
    # the changes 4, -2, 4 are 2, -4, 2 about the slope 2: 8 on the mean of squares
    np.testing.assert_allclose(deviation, [np.sqrt([8 * 1 * (1 + 1 / 3), 8 * 2 * (1 + 2 / 3)]), [0, 0]])


@pytest.mark.parametrize("seed", range(4))
def test_drift_is_what_one_finds_period_after_period(seed: int) -> None:
    rows, horizon = awkward_rows(seed), 5

    mean, deviation = forecast_drift(panel_of(rows, start="2000-01-01"), horizon, 20)

    for n, row in enumerate(rows):
        steps, behind = len(row) - 1, max(map(len, rows)) - len(row)
        slope = (row[-1] - row[0]) / steps if steps else 0.0
        errors = [row[t] - row[t - 1] - slope for t in range(1, len(row)) if not np.isnan(row[t] - row[t - 1])]
        size = np.sqrt(np.mean(np.square(errors))) if errors else 0.0
        size = abs(slope) if steps == 1 else size
        for h in range(horizon):
            ahead = behind + h + 1
            assert mean[n, h] == pytest.approx(row[-1] + ahead * slope)
            assert deviation[n, h] == pytest.approx(size * np.sqrt(ahead * (1 + ahead / max(steps, 1))))


@pytest.mark.parametrize("seed", range(4))
def test_drift_and_its_quantiles_are_what_statsforecast_finds(seed: int) -> None:
    values = np.cumsum(np.random.default_rng(seed).normal(1, 9, 30))

    mean, deviation = forecast_drift(panel_of([values.tolist()], start="2000-01-01"), 5, 12)

    theirs = RandomWalkWithDrift().forecast(y=values, h=5, level=[80, 95])
    np.testing.assert_allclose(mean[0], theirs["mean"])
    quantiles = normal_quantiles(mean, deviation)[0]
    for q, key in enumerate(("lo-95", "lo-80", "mean", "hi-80", "hi-95")):
        np.testing.assert_allclose(quantiles[:, q], theirs[key])


def test_drift_is_that_of_the_last_periods_whose_number_does_not_grow() -> None:
    row = [*np.arange(1000.0), *np.full(60, 7.0)]

    mean, deviation = forecast_drift(panel_of([row, row[:1000]], start="2000-01-01"), 2, 12)

    assert mean.tolist() == [[7, 7], [999, 999]]  # the second has no value among the last 60
    assert (deviation == 0).all()


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_of_contexts_is_that_of_the_panel(name: str) -> None:
    rows = [row for row in awkward_rows(0) if len(row) > 1]
    panel = panel_of(rows, start="2000-01-01", align="end")
    windows = Windows(np.arange(len(rows)), panel.last)
    context, is_observed = read_contexts(panel, windows, scale_window(4))

    forecasts = forecast_baseline(name, np.where(is_observed, context, np.nan), horizon=6, season=4)

    if name == "drift":
        np.testing.assert_allclose(forecasts, forecast_drift(panel, 6, 4)[0])
    else:
        published = forecast_naive(panel, 6, 4 if name == "seasonal-naive" else 1)
        is_same = np.array([method == name for method in published.method])
        np.testing.assert_allclose(forecasts[is_same], published.mean[is_same])


def test_the_only_change_of_two_values_is_the_deviation_of_their_drift() -> None:
    mean, deviation = forecast_drift(panel_of([[10.0, 30]], start="2000-01-01"), 2, 12)

    assert mean.tolist() == [[50, 70]]
    np.testing.assert_allclose(deviation, [20 * np.sqrt([1 * (1 + 1), 2 * (1 + 2)])])


@pytest.mark.parametrize("num_errors", [2, 5, 30])
def test_quantiles_are_those_of_student_where_errors_are_few(num_errors: int) -> None:
    quantiles = student_quantiles(np.array([[3.0]]), np.array([[2.0]]), np.array([num_errors]))

    exact = 3 + 2 * student(num_errors).ppf(LEVELS)
    np.testing.assert_allclose(quantiles[0, 0], exact, rtol=0.05 if num_errors == 2 else 0.005)


@pytest.mark.parametrize(
    ("row", "least"), [([100.0], 200), ([100.0, 100], 100), ([12.0, 95], 400), ([12.0, 95, 210, 390, 410], 300)]
)
def test_few_values_give_wide_intervals(row: list[float], least: float) -> None:
    quantiles = forecast_naive(panel_of([row]), 3, 12).quantiles[0]

    assert (quantiles[:, 3] - quantiles[:, 1] > least).all()


def test_five_equal_values_and_more_are_a_constant_series() -> None:
    assert (forecast_naive(panel_of([[7.0] * 5]), 2, 12).quantiles == 7).all()


def test_a_gap_one_season_ago_is_the_value_of_two_seasons_ago() -> None:
    forecast = forecast_naive(panel_of([[1.0, 2, 3, 4, 5, 6, 7, np.nan, 9]]), 3, 3)

    assert forecast.mean[0].tolist() == [7, 5, 9]
    assert seasonal_naive(np.array([[1.0, 2, 3, 4, 5, 6, 7, np.nan, 9]]), 3, 3).tolist() == [[7, 5, 9]]


def test_a_context_that_lacks_a_place_of_the_season_gives_the_last_value() -> None:
    assert seasonal_naive(np.array([[np.nan, np.nan, 3.0], [1.0, 2, 3]]), 2, 3).tolist() == [[3, 3], [1, 2]]


def test_quantiles_are_those_of_the_normal_distribution() -> None:
    quantiles = normal_quantiles(np.array([[3.0]]), np.array([[2.0]]))

    np.testing.assert_allclose(quantiles[0, 0], norm(3, 2).ppf(LEVELS), atol=1e-12)


@pytest.mark.parametrize("season", [1, 4, 12])
@pytest.mark.parametrize("seed", range(3))
def test_the_root_scale_is_that_of_the_changes_of_the_last_periods(season: int, seed: int) -> None:
    rows = awkward_rows(seed)
    length = max(map(len, rows))

    found = root_seasonal_scale(panel_of(rows, start="2000-01-01"), season)

    for n, row in enumerate(rows):
        recent = {t: v for t, v in enumerate(row) if not np.isnan(v) and t >= length - scale_window(season)}
        by = {lag: [recent[t] - recent[t - lag] for t in recent if t - lag in recent] for lag in (season, 1)}
        chosen = by[season] or by[1]
        assert found[n] == pytest.approx(np.sqrt(np.mean(np.square(chosen))) if chosen else 0)


def test_the_root_scale_of_many_series_is_that_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = panel_of([[1.0, 2, 3, 4, 5, 6, 7, 9], [5.0], [1.0, 2, 3]], start="2000-01-01")
    together = root_seasonal_scale(panel, 4)
    monkeypatch.setattr("pipeline.forecasting.baselines._SERIES_PER_BATCH", 1)

    assert root_seasonal_scale(panel, 4).tolist() == together.tolist()
