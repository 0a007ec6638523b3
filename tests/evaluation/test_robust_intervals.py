"""Intervals from a backtest: misfits widen none but their own, and what the baseline does better gets its width."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.evaluation.holdout import fit_interval_widths, fit_series_widths
from pipeline.evaluation.interval_calibration import NaiveIntervals, calibrate_intervals, compare_intervals
from pipeline.forecasting.baselines import forecast_naive
from pipeline.forecasting.series_scale import volatility_groups
from pipeline.preprocessing.windows import Windows, read_targets
from pipeline.timeseries.forecast import NORMAL_SCORES
from pipeline.timeseries.panel import Panel
from tests.support.panels import panel_of

Array = npt.NDArray[np.float64]

HORIZON, NUM_ORIGINS, SEASON = 3, 8, 4
SHOPS = [f"shop {n}" for n in range(12)]


def residuals_of(sizes: list[float]) -> tuple[Windows, Array]:
    """Windows of series whose errors have these sizes, and the errors [N, H]."""
    windows = Windows(np.repeat(np.arange(len(sizes)), NUM_ORIGINS), np.tile(np.arange(NUM_ORIGINS), len(sizes)))
    rng = np.random.default_rng(0)
    return windows, rng.normal(size=(len(windows), HORIZON)) * np.repeat(sizes, NUM_ORIGINS)[:, None]


@pytest.mark.parametrize("odd", [[9.0] * 3, [200.0], [6.0] * 5])
def test_misfits_do_not_widen_the_intervals_of_the_others(odd: list[float]) -> None:
    alone_windows, alone = residuals_of([1.0] * 12)
    windows, beside = residuals_of([*[1.0] * 12, *odd])

    expected = fit_interval_widths(alone, np.ones((len(alone), 1)), alone_windows)
    found = fit_interval_widths(beside, np.ones((len(beside), 1)), windows)

    np.testing.assert_allclose(found.by_step, expected.by_step, rtol=1e-12)
    np.testing.assert_allclose(found.at_level, expected.at_level, rtol=1e-12)


def test_a_misfit_has_wider_intervals_of_its_own_and_the_others_hardly_any() -> None:
    windows, residuals = residuals_of([*[1.0] * 12, 8.0])
    scale = np.ones((len(residuals), 1))
    widths = fit_interval_widths(residuals, scale, windows)

    calibration = fit_series_widths(windows, residuals, scale, widths, [*SHOPS, "odd"])

    assert calibration is not None
    assert 4 < calibration.series["odd"] < 10
    assert max(calibration.series.get(name, 1.0) for name in SHOPS) < 1.5
    assert (calibration.factors == 1).all()


def test_a_single_series_has_the_intervals_of_its_errors_alone() -> None:
    windows, residuals = residuals_of([2.0])
    scale = np.ones((len(residuals), 1))
    widths = fit_interval_widths(residuals, scale, windows)

    assert fit_series_widths(windows, residuals, scale, widths, ["a"]) is None
    np.testing.assert_array_equal(widths.at_level, fit_interval_widths(residuals, scale).at_level)


def noisy_panel() -> Panel:
    rng = np.random.default_rng(1)
    return panel_of({name: (50 + rng.normal(0, 1, 60)).tolist() for name in SHOPS})


def worse(panel: Panel, width: float) -> dict[int, str]:
    """What is found of a network that forecasts the mean with so many times the right width."""
    windows = Windows(np.arange(len(SHOPS)), np.full(len(SHOPS), 50))
    observed = read_targets(panel, windows, HORIZON)
    groups = volatility_groups(panel, forecast_naive(panel, 1, SEASON).scale, SEASON)
    quantiles = np.full((len(SHOPS), HORIZON, 1), 50.0) + width * NORMAL_SCORES
    compared = compare_intervals(observed, quantiles, NaiveIntervals.of(panel, windows, HORIZON, SEASON))
    return compared.worse(groups, least_gain=0.1)


@pytest.mark.parametrize("width", [7.0, 0.02])
def test_intervals_worse_than_the_baselines_get_its_width_with_the_figures(width: float) -> None:
    found = worse(noisy_panel(), width)

    (reason,) = set(found.values())
    assert reason.startswith("MSIS ")
    assert reason.endswith(" in the backtest")


def test_few_outcomes_decide_nothing() -> None:
    panel = noisy_panel()
    windows = Windows(np.arange(len(SHOPS)), np.full(len(SHOPS), 50))
    quantiles = np.full((len(SHOPS), HORIZON, 1), 50.0) + 7 * NORMAL_SCORES
    naive = NaiveIntervals.of(panel, windows, HORIZON, SEASON)
    compared = compare_intervals(read_targets(panel, windows, HORIZON), quantiles, naive)

    assert len(compared.worse(np.array(SHOPS), least_gain=0.4)) == 12
    assert compared.worse(np.array(SHOPS), least_gain=0.4, least_outcomes=HORIZON + 1) == {}


def test_intervals_better_than_the_baselines_stay() -> None:
    assert worse(noisy_panel(), 1.0) == {}


@pytest.mark.parametrize("width", [0.3, 1.0])
def test_widths_lie_between_the_network_s_and_the_baseline_s_as_far_as_the_test_part_leaves_it_open(
    width: float,
) -> None:
    """Half of the way to what is best there: seasonal naive's errors are 1.4 times the noise."""
    panel, ends = noisy_panel(), np.arange(40, 57, HORIZON)
    windows = Windows(np.repeat(np.arange(len(SHOPS)), len(ends)), np.tile(ends, len(SHOPS)))
    quantiles = np.full((len(windows), HORIZON, 1), 50.0) + width * NORMAL_SCORES

    calibration = calibrate_intervals(panel, windows, read_targets(panel, windows, HORIZON), quantiles, season=SEASON)

    assert calibration is not None
    assert 0.25 <= calibration.baseline_share <= 0.75
    naive = NaiveIntervals.of(panel, windows, HORIZON, SEASON).quantiles
    names, groups = [panel.series[s] for s in windows.series], np.zeros(len(windows), np.int64)
    calibrated = calibration.apply(quantiles, names, groups, naive)
    inside = (read_targets(panel, windows, HORIZON)[:, :, None] <= calibrated).mean(axis=(0, 1))
    np.testing.assert_allclose(inside[[0, -1]], [0.025, 0.975], atol=0.025)


@pytest.mark.parametrize("width", [0.2, 5.0])
@pytest.mark.parametrize("num_series", [1, 12])
def test_one_test_part_changes_a_pretrained_network_s_intervals_little_and_more_of_them_with_more_series(
    width: float, num_series: int
) -> None:
    panel, ends = noisy_panel().take(np.arange(num_series)), np.arange(40, 57, HORIZON)
    windows = Windows(np.repeat(np.arange(num_series), len(ends)), np.tile(ends, num_series))
    quantiles = np.full((len(windows), HORIZON, 1), 50.0) + width * NORMAL_SCORES
    observed = read_targets(panel, windows, HORIZON)

    own, pretrained = (
        calibrate_intervals(panel, windows, observed, quantiles, season=SEASON, is_pretrained=is_pretrained)
        for is_pretrained in (False, True)
    )

    assert own is not None
    assert pretrained is not None
    change = np.abs(np.log(pretrained.factors[:, [0, -1]]))
    trust = num_series * len(ends) / (num_series * len(ends) + 100) * len(ends) / (len(ends) + 1)
    assert (change <= trust * np.log(10)).all()
    assert pretrained.baseline_share == pytest.approx(0.25, abs=trust * 0.4)
    assert pretrained.baseline_widths_of_series == {}
    assert own.factors.min() >= 1


def test_a_pretrained_network_s_intervals_may_be_narrowed() -> None:
    panel, ends = noisy_panel(), np.arange(20, 57)
    windows = Windows(np.repeat(np.arange(len(SHOPS)), len(ends)), np.tile(ends, len(SHOPS)))
    quantiles = np.full((len(windows), HORIZON, 1), 50.0) + 5 * NORMAL_SCORES

    calibration = calibrate_intervals(
        panel, windows, read_targets(panel, windows, HORIZON), quantiles, season=SEASON, is_pretrained=True
    )

    assert calibration is not None
    assert (calibration.factors[:, [0, -1]] < 0.9).all()


def test_one_stretch_counts_for_half_however_many_series_share_it() -> None:
    """Intervals five times too wide: the factor would be 0.2, and of half the evidence is its square root."""
    panel = noisy_panel()

    def outermost_factors(ends: list[int]) -> Array:
        windows = Windows(np.repeat(np.arange(len(SHOPS)), len(ends)), np.tile(ends, len(SHOPS)))
        windows = windows.take(np.tile(np.arange(len(windows)), 100))
        quantiles = np.full((len(windows), HORIZON, 1), 50.0) + 5 * NORMAL_SCORES
        observed = read_targets(panel, windows, HORIZON)
        calibration = calibrate_intervals(panel, windows, observed, quantiles, season=SEASON, is_pretrained=True)
        assert calibration is not None
        return calibration.factors[:, [0, -1]]

    assert outermost_factors([40]).min() > 0.4
    assert outermost_factors([40, 41]).min() > 0.4
    assert outermost_factors(list(range(20, 57, HORIZON))).max() < 0.4
