"""A model that is as it was is left alone for years; one whose forecasts turn bad is found out once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.evaluation.drift import MIN_ORIGINS, DriftFinding, OutcomesByPeriod, find_drift, page_hinkley_alarm

Array = npt.NDArray[np.float64]

HORIZON = 12
#: origins that are simulated before something changes
BEFORE = 60
YEAR_OF_DAYS, FIVE_YEARS_OF_MONTHS = 365, 60


def errors(rng: np.random.Generator, count: int, num_series: int, lasting: float, heavy: bool) -> Array:
    """Observed minus forecast of the best forecast of an AR(1): [T, S, H], overlapping as those of real origins are.

    The error of step h is that of all shocks since the origin, so those of h origins in a row share most of theirs;
    a third of each shock is common to all series.
    """
    shape = (count + HORIZON, num_series)
    own, common = (
        rng.standard_t(4, size) / np.sqrt(2) if heavy else rng.normal(size=size) for size in (shape, (shape[0], 1))
    )
    shocks = np.sqrt(2 / 3) * own + np.sqrt(1 / 3) * common
    path = np.stack([shocks[h : h + count] for h in range(HORIZON)], axis=2)
    for h in range(1, HORIZON):
        path[:, :, h] += lasting * path[:, :, h - 1]
    return path


def simulated(
    seed: int,
    count: int,
    *,
    num_series: int,
    every: int = 1,
    bias: float = 0.0,
    noise: float = 1.0,
    since: int = BEFORE,
) -> OutcomesByPeriod:
    """A model whose forecasts are too high by `bias` and whose errors are multiplied by `noise` from an origin on.

    Errors are in units of the noise of the first step; of each origin the steps up to the next one count.
    """
    rng = np.random.default_rng(seed)
    lasting, heavy = (0.3, 0.7, 1.0)[seed % 3], seed % 2 == 1
    path = errors(rng, count, num_series, lasting, heavy)
    naive = 1.3 * errors(rng, count, num_series, lasting, heavy)
    deviation = np.sqrt(np.cumsum(lasting ** (2.0 * np.arange(HORIZON))))
    changed = (np.arange(count) >= since)[:, None, None]
    told = (np.where(changed, bias, 0.0) - np.where(changed, noise, 1.0) * path)[::every, :, :every]
    return OutcomesByPeriod(
        origin=np.datetime64("2020-01-01", "us") + np.arange(0, count, every) * np.timedelta64(1, "D"),
        bias=told.mean(axis=(1, 2)),
        error=np.abs(told).mean(axis=(1, 2)),
        naive_error=np.abs(naive[::every, :, :every]).mean(axis=(1, 2)),
        inside_80=(np.abs(told) <= 1.2816 * deviation[:every]).mean(axis=(1, 2)),
    )


def until(outcomes: OutcomesByPeriod, end: int, start: int = 0) -> OutcomesByPeriod:
    """What was known after some origins."""
    return replace(outcomes, **{name: getattr(outcomes, name)[start:end] for name in outcomes.__dataclass_fields__})


def first(outcomes: OutcomesByPeriod, *, step: int = 1) -> tuple[int, DriftFinding] | None:
    """What is found first, and after how many origins."""
    for end in range(1, len(outcomes) + 1, step):
        finding = find_drift(until(outcomes, end))
        if finding is not None:
            return end, finding
    return None


@pytest.mark.parametrize(
    "count, every, num_series",
    [(YEAR_OF_DAYS, 1, 1), (YEAR_OF_DAYS, 1, 20), (FIVE_YEARS_OF_MONTHS, 1, 1), (FIVE_YEARS_OF_MONTHS, 1, 20), (2 * YEAR_OF_DAYS, 7, 5)],
    ids=["days", "days of a panel", "months", "months of a panel", "days, forecast weekly"],
)  # fmt: skip
def test_of_200_models_that_are_as_they_were_none_is_found_fault_with(count: int, every: int, num_series: int) -> None:
    step = 3 if count > 100 else 1
    found_fault = [
        seed for seed in range(200) if first(simulated(seed, count, num_series=num_series, every=every), step=step)
    ]

    assert found_fault == []


@pytest.mark.parametrize("num_series, within", [(1, 40), (20, 16)])
def test_a_bias_of_twice_the_noise_is_found_in_time(num_series: int, within: int) -> None:
    delays = []
    for seed in range(20):
        at = first(simulated(seed, 2 * BEFORE, num_series=num_series, bias=2.0))
        assert at is not None
        assert at[1].what in ("bias", "coverage")
        delays.append(at[0] - BEFORE)

    assert min(delays) >= 1
    assert max(delays) <= within


@pytest.mark.parametrize("count", [YEAR_OF_DAYS, 2 * FIVE_YEARS_OF_MONTHS])
def test_a_bias_is_found_once_a_retraining_and_again_if_it_comes_again(count: int) -> None:
    for seed in range(10):
        findings, trained, sound = [], 0, simulated(seed, count, num_series=20)
        comes = [BEFORE, count - 40]
        bias = np.zeros(count)
        bias[comes[0] :] = 2.0
        for now in range(1, count + 1):
            if now == comes[1]:
                bias[comes[1] :] = -2.0
            told = replace(sound, bias=sound.bias + bias)
            finding = find_drift(until(told, now, trained))
            if finding is not None:
                findings.append((finding.what, now))
                trained, bias = now, np.where(np.arange(count) >= now, 0.0, bias)

        assert [what for what, _ in findings] == ["bias", "bias"]
        assert comes[0] < findings[0][1] < comes[0] + 20
        assert comes[1] < findings[1][1] <= count


def test_errors_that_grow_past_the_baselines_are_found_as_lost_skill_and_as_intervals_that_are_too_narrow() -> None:
    grown = [simulated(seed, 200, num_series=20, noise=3.0) for seed in range(10)]
    covered = [replace(each, inside_80=np.full(200, 0.8)) for each in grown]

    lost, narrow = (
        [first(each) for each in covered],
        [first(replace(each, naive_error=each.error + 1)) for each in grown],
    )

    assert {at and at[1].what for at in lost} == {"skill"}
    assert {at and at[1].what for at in narrow} == {"coverage"}
    for found_at in (lost, narrow):
        delays = [at[0] - BEFORE for at in found_at if at is not None]
        assert min(delays) > 0
        assert np.median(delays) <= 20


def outcomes(count: int, **changed: float) -> OutcomesByPeriod:
    sound = {"bias": 0.0, "error": 0.5, "naive_error": 1.0, "inside_80": 0.8}
    origin = np.datetime64("2020-01-01", "us") + np.arange(count) * np.timedelta64(1, "D")
    return OutcomesByPeriod(origin=origin, **{name: np.full(count, told) for name, told in (sound | changed).items()})


def test_a_model_that_is_bad_from_the_beginning_is_found_too() -> None:
    finding = find_drift(outcomes(20, bias=-0.62))

    assert finding is not None
    assert finding.what == "bias"
    assert finding.reason == (
        "forecasts are 0.62 of a usual seasonal difference too low, on average over the last 10 origins"
    )
    assert np.datetime64("2020-01-01") < finding.origin <= np.datetime64("2020-01-20")


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"error": 1.5}, "errors are 1.50 of a usual seasonal difference, the baseline's 1.00"),
        ({"inside_80": 0.4}, "40% of the values fell inside the 80 % interval"),
    ],
)
def test_a_finding_says_in_words_what_it_saw(changed: dict[str, float], reason: str) -> None:
    finding = find_drift(outcomes(20, **changed))

    assert finding is not None
    assert finding.reason == f"{reason}, on average over the last 10 origins"


@pytest.mark.parametrize("changed", [{}, {"bias": 0.19}, {"inside_80": 0.66}, {"inside_80": 1.0}, {"error": 0.99}])
def test_what_a_person_would_shrug_at_is_no_finding_however_certain(changed: dict[str, float]) -> None:
    assert find_drift(outcomes(300, **changed)) is None


def test_of_few_outcomes_or_without_a_baseline_nothing_is_said() -> None:
    assert find_drift(outcomes(0)) is None
    assert find_drift(outcomes(MIN_ORIGINS - 1, bias=9.0, error=9.0, inside_80=0.0)) is None
    assert find_drift(outcomes(100, naive_error=float("nan"), error=9.0)) is None


@pytest.mark.parametrize("seed", range(5))
def test_page_hinkley_raises_the_alarms_of_river(seed: int) -> None:
    from river.drift import PageHinkley

    rng = np.random.default_rng(seed)
    alarms = []
    for _ in range(500):
        tolerated, threshold, least = rng.uniform(0, 1), rng.uniform(1, 30), int(rng.integers(1, 40))
        size, change = int(rng.integers(1, 120)), rng.choice([0.0, 0.5, 2.0, -2.0])
        values = rng.standard_t(3, size) + np.where(np.arange(size) >= size // 2, change, 0.0)
        values[rng.random(size) < rng.choice([0.0, 0.02])] = np.nan

        detector = PageHinkley(min_instances=least, delta=tolerated, threshold=threshold, alpha=1.0, mode="up")
        theirs = None
        for position, value in enumerate(values.tolist()):
            detector.update(value)
            if detector.drift_detected:
                theirs = position
                break

        ours = page_hinkley_alarm(values.tolist(), tolerated=tolerated, threshold=threshold, min_values=least)
        assert ours == theirs
        alarms.append(ours)

    assert 50 < sum(alarm is not None for alarm in alarms) < 450


def test_page_hinkley_of_a_step_that_a_person_can_follow() -> None:
    # mean 0 0 0 0.75 1.2, sum of what exceeds it by more than 0.25: -0.25 -0.5 -0.75 1.25 2.8; lowest -0.75
    values = [0.0, 0.0, 0.0, 3.0, 3.0]

    assert page_hinkley_alarm(values, tolerated=0.25, threshold=1.9, min_values=1) == 3
    assert page_hinkley_alarm(values, tolerated=0.25, threshold=2.0, min_values=1) == 4
    assert page_hinkley_alarm(values, tolerated=0.25, threshold=1.9, min_values=5) == 4
    assert page_hinkley_alarm(values, tolerated=0.25, threshold=3.6, min_values=1) is None


def test_looking_for_drift_does_not_import_river() -> None:
    program = """
import sys
from pipeline.evaluation.drift import find_drift
from tests.evaluation.test_drift import outcomes
assert find_drift(outcomes(20, bias=-0.62)) is not None
assert not any(name.split(".")[0] == "river" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
