"""Intervals hold as often as they say, whatever the network gave; with nothing to correct nothing is changed."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.evaluation.interval_calibration import fit_holdout_calibration
from pipeline.forecasting.calibration import (
    FULL_WEIGHT,
    LARGEST_FACTOR,
    WINDOW,
    Calibration,
    Outcomes,
    blend_distances,
    conformity_ratios,
    fit_calibration,
)
from pipeline.preprocessing.windows import Windows
from pipeline.timeseries.forecast import LEVELS
from tests.support.outcomes import CHANGE, FIRST, LENGTH, NORMAL, Replay, replay

Array = npt.NDArray[np.float64]

NUM_SERIES, HORIZON = 200, 6
ALL = np.arange(NUM_SERIES)
#: which series a calibration is fitted on and which it is of: a panel by some of it, or each series by itself
PANEL = [(ALL[::4], ALL)]
ALONE = [(ALL[s : s + 1], ALL[s : s + 1]) for s in range(NUM_SERIES)]
#: periods after a change of variance until the coverage is back
RECOVERED = WINDOW + HORIZON


def coverage(told: Replay, groups: list[tuple[Array, Array]], origins: range, *, calibrated: bool = True) -> Array:
    """Percent of all values that fell inside their 80 % and their 95 % interval."""
    inside = [
        told.inside(series, origin, told.calibration(fitted_on, origin) if calibrated else None).reshape(-1, 2)
        for origin in origins
        for fitted_on, series in groups
    ]
    return np.asarray(100 * np.concatenate(inside).mean(axis=0))


def holds(percent: Array) -> bool:
    """80 % within 3 points and 95 % within 2."""
    return bool(abs(percent[0] - 80) <= 3 and abs(percent[1] - 95) <= 2)


@pytest.mark.parametrize("groups, every", [(PANEL, 5), (ALONE, 60)], ids=["panel", "alone"])
@pytest.mark.parametrize("width", [0.6, 2.5])
def test_intervals_hold_for_200_series_of_many_kinds(
    groups: list[tuple[Array, Array]], every: int, width: float
) -> None:
    told = replay(num_series=NUM_SERIES, horizon=HORIZON, width=width)
    origins = range(FIRST + 30, LENGTH - HORIZON, every)

    assert holds(coverage(told, groups, origins))
    assert not holds(coverage(told, groups, origins, calibrated=False))


@pytest.mark.parametrize("groups, every", [(PANEL, 5), (ALONE, 45)], ids=["panel", "alone"])
@pytest.mark.parametrize("change", [2, 0.5])
def test_a_window_and_a_horizon_after_a_change_of_the_noise_intervals_hold_again(
    groups: list[tuple[Array, Array]], every: int, change: float
) -> None:
    told = replay(num_series=NUM_SERIES, horizon=HORIZON, width=0.6, change=change)
    origins = range(CHANGE + RECOVERED, LENGTH - HORIZON, every)
    at_once = range(CHANGE, CHANGE + HORIZON, 3)

    assert holds(coverage(told, groups, origins))
    assert not holds(coverage(told, groups, origins, calibrated=False))
    assert not holds(coverage(told, PANEL, at_once)), "the planted change shows"


def test_steps_whose_intervals_are_wrong_in_different_ways_each_hold() -> None:
    told = replay(num_series=NUM_SERIES, horizon=HORIZON, width=1.0)
    narrowing = np.linspace(1.5, 0.4, HORIZON)[:, None]
    median = told.quantiles[..., 2:3]
    told = Replay(quantiles=median + narrowing * (told.quantiles - median), observed=told.observed)

    inside = np.concatenate(
        [
            told.inside(ALL, origin, told.calibration(ALL[::4], origin))
            for origin in range(FIRST + 60, LENGTH - HORIZON, 6)
        ]
    )

    assert np.abs(100 * inside[..., 0].mean(axis=0) - 80).max() <= 3
    assert np.abs(100 * inside[..., 1].mean(axis=0) - 95).max() <= 2


def one_step(ratio: list[float]) -> Outcomes:
    """One outcome for each of some origins, on the one side where it is positive, the other where it is negative."""
    told = np.array(ratio)[:, None] * np.array([-1, -1, np.nan, 1, 1])
    return Outcomes(origin=np.arange(len(ratio)), step=np.ones(len(ratio), np.int64), ratio=told)


def fitted(outcomes: Outcomes, horizon: int = 1, prior: Calibration | None = None) -> Array:
    calibration = fit_calibration(outcomes, horizon=horizon, prior=prior)
    assert calibration is not None
    return calibration.factors


def factors(*by_level: float, horizon: int = 1) -> Calibration:
    return Calibration(factors=np.tile(np.array(by_level, np.float64), (horizon, 1)))


def test_factors_are_those_that_a_person_counts_off() -> None:
    # of 40 ratios the one at rank 0.975 x 41, so the 40th; at 0.9 x 41, so the 37th
    outcomes = one_step([n / 10 for n in range(1, 41)])

    assert fitted(outcomes)[0].tolist() == [0.1, 0.1, 1, 3.7, 4.0]


@pytest.mark.parametrize("seed", range(5))
def test_factors_are_the_conformal_quantiles_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(FULL_WEIGHT, WINDOW + 1))
    ratio = rng.normal(0, 1.5, count).tolist()

    found = fitted(one_step(ratio))[0]

    for q, level in ((0, 0.975), (1, 0.9), (3, 0.9), (4, 0.975)):
        ordered = sorted(-each if q < 2 else each for each in ratio)
        expected = ordered[min(math.ceil(level * (count + 1)), count) - 1]
        assert found[q] == pytest.approx(min(max(expected, 1 / LARGEST_FACTOR), LARGEST_FACTOR), abs=1e-4)


def test_few_outcomes_move_the_factors_as_far_as_they_weigh() -> None:
    few = one_step([4.0] * (FULL_WEIGHT // 4))

    assert fitted(few)[0, 4] == pytest.approx(4**0.25, abs=1e-4)
    assert fitted(few, prior=factors(3, 2, 1, 2, 3))[0, 4] == pytest.approx(3**0.75 * 4**0.25, abs=1e-4)


def test_few_origins_widen_at_once_and_narrow_only_when_they_are_enough_for_the_level() -> None:
    steps = np.tile(np.arange(1, 13), 12)
    inside = np.full((144, 5), 0.3)
    year = Outcomes(origin=np.repeat(np.arange(12), 12), step=steps, ratio=inside)

    narrowed, widened = fitted(year, horizon=12), fitted(replace(year, ratio=inside * 10), horizon=12)

    assert narrowed[:, [0, 4]].tolist() == [[1, 1]] * 12
    assert narrowed[:, [1, 3]] == pytest.approx(np.full((12, 2), 0.3 ** (12 / FULL_WEIGHT)), abs=1e-4)
    assert widened[:, [0, 1, 3, 4]].min() > 2


def test_without_outcomes_the_prior_is_what_is_believed() -> None:
    nothing, prior = one_step([]), factors(3, 2, 1, 2, 3)

    assert fit_calibration(nothing, horizon=1) is None
    assert fit_calibration(nothing, horizon=1, prior=prior) is prior


def test_outcomes_older_than_the_window_count_no_more() -> None:
    newest = [1.0] * WINDOW

    assert np.array_equal(fitted(one_step([9.0] * 30 + newest)), fitted(one_step(newest)))


def test_a_step_with_too_few_outcomes_takes_those_of_its_neighbours() -> None:
    steps = np.repeat([1, 2, 3], [WINDOW, WINDOW, 2])
    ratio = np.repeat([1.0, 2.0, 5.0], [WINDOW, WINDOW, 2])[:, None] * np.array([1, 1, np.nan, 1, 1])
    outcomes = Outcomes(
        origin=np.concatenate([np.arange(WINDOW), np.arange(WINDOW), np.arange(2)]), step=steps, ratio=ratio
    )

    found = fitted(outcomes, horizon=3)

    assert found[0, 3] == 1.0
    assert 1.0 < found[2, 3] <= 5.0


def test_of_a_long_horizon_some_steps_are_fitted_and_the_others_lie_between() -> None:
    steps = np.tile(np.arange(1, 169), WINDOW)
    ratio = (steps / 40)[:, None] * np.array([1, 1, np.nan, 1, 1])
    origin = np.repeat(np.arange(WINDOW), 168)
    panel = Outcomes(origin=np.tile(origin, 200), step=np.tile(steps, 200), ratio=np.tile(ratio, (200, 1)))

    upper = fitted(panel, horizon=168)[:, 4]

    assert (np.diff(upper) >= 0).all()
    assert upper == pytest.approx(np.maximum(np.arange(1, 169) / 40, 0.1), rel=0.3)


def test_an_interval_without_width_says_nothing() -> None:
    quantiles = np.array([[5.0, 5, 5, 6, 7]])

    ratio = conformity_ratios(np.array([4.0]), quantiles)

    assert np.isnan(ratio[0, :3]).all()
    assert ratio[0, 3:].tolist() == [-1, -0.5]


QUANTILES = arrays(np.float64, (2, 3, len(LEVELS)), elements=st.floats(allow_nan=False, allow_infinity=False)).map(
    lambda told: np.sort(told, axis=2)
)
FACTORS = arrays(np.float64, (3, len(LEVELS)), elements=st.floats(1 / LARGEST_FACTOR, LARGEST_FACTOR)).map(
    lambda told: np.where(np.arange(len(LEVELS)) == 2, 1.0, told)
)


@given(QUANTILES, FACTORS)
def test_calibrated_quantiles_never_cross_and_the_median_stays(quantiles: Array, chosen: Array) -> None:
    calibrated = Calibration(factors=chosen).apply(quantiles)

    assert np.isfinite(calibrated).all()
    assert (calibrated[:, :, 1:] >= calibrated[:, :, :-1]).all()
    assert calibrated[:, :, 2].tobytes() == quantiles[:, :, 2].tobytes()


@given(QUANTILES)
def test_factors_of_1_change_nothing_to_the_last_bit(quantiles: Array) -> None:
    assert factors(1, 1, 1, 1, 1, horizon=3).apply(quantiles).tobytes() == quantiles.tobytes()


@given(QUANTILES, QUANTILES, st.floats(0, 1))
def test_blended_quantiles_never_cross_and_lie_between_both(own: Array, other: Array, share: float) -> None:
    blended = blend_distances(own, other, share)

    assert np.isfinite(blended).all()
    assert blended[:, :, 2].tobytes() == own[:, :, 2].tobytes()
    ours, theirs, found = (np.abs(q - q[:, :, 2:3]) for q in (own / 8, other / 8, blended / 8))
    has_width = theirs > 0
    slack = 1e-9 * (np.abs(own).max() / 8 + np.maximum(ours, theirs))
    assert (found >= np.where(has_width, np.minimum(ours, theirs), ours) - slack).all()
    assert (found <= np.where(has_width, np.maximum(ours, theirs), ours) + slack).all()
    calibrated = Calibration(factors=np.ones((3, len(LEVELS))), baseline_share=share).apply(own, of_baseline=other)
    assert (calibrated[:, :, 1:] >= calibrated[:, :, :-1]).all()


def test_a_blended_distance_is_the_geometric_mean_of_both() -> None:
    own, other = (np.array([[[-4.0, -1.0, 0.0, 1.0, 4.0]]]) * factor for factor in (1.0, 4.0))

    np.testing.assert_allclose(blend_distances(own + 7, other, 0.5), own * 2 + 7)
    assert blend_distances(own, other, 0.0) is own
    assert blend_distances(own, np.zeros_like(own), 0.5).tolist() == own.tolist()  # a baseline without width


def test_a_calibration_that_blends_asks_for_what_it_blends_with() -> None:
    blending = replace(factors(1, 1, 1, 1, 1), baseline_share=0.5)

    with pytest.raises(ValueError, match=r"blends with the baseline's quantiles: expected of_baseline"):
        blending.apply(np.zeros((1, 1, 1)) + NORMAL)
    assert Calibration.from_text(blending.as_text()).baseline_share == 0.5


@given(FACTORS)
def test_a_calibration_is_all_in_its_text(chosen: Array) -> None:
    kept = Calibration.from_text(Calibration(factors=chosen, num_outcomes=7).as_text())

    assert kept.factors.tobytes() == chosen.tobytes()
    assert kept.num_outcomes == 7
    assert json.loads(kept.as_text())["factors"] == chosen.tolist()


@given(FACTORS)
@settings(max_examples=30)
def test_what_was_published_tells_of_what_was_raw(chosen: Array) -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=3)
    raw = rng.normal(size=(1, 3, 1)) + NORMAL
    widening = np.maximum.accumulate(chosen[:, 2:], axis=1)
    chosen = np.concatenate([widening[:, :0:-1], widening], axis=1) / chosen[:, 2:3]

    published = Calibration(factors=chosen).apply(raw)

    np.testing.assert_allclose(
        conformity_ratios(observed, published[0], chosen), conformity_ratios(observed, raw[0]), rtol=1e-9
    )


@pytest.mark.parametrize("wrong", [[1, 1, 2, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, float("inf")], [1, 1, 1]])
def test_what_is_no_calibration_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="factor"):
        factors(*wrong)


def test_the_backtest_of_quantiles_that_are_too_narrow_widens_them() -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=(400, 3))
    windows = Windows(np.repeat(np.arange(10), 40), np.tile(np.arange(40), 10))
    narrow = np.zeros((400, 3, 1)) + NORMAL / 2

    calibration = fit_holdout_calibration(windows, narrow, observed)

    assert calibration is not None
    assert calibration.factors[:, [0, 1, 3, 4]] == pytest.approx(np.full((3, 4), 2.0), abs=0.5)
    assert fit_holdout_calibration(windows, narrow, np.full((400, 3), np.nan)) is None
