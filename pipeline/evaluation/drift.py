"""Drift of a model's published forecasts: bias, skill and coverage that are no longer as they should be.

Three series of origins are monitored, each a mean over the panel's series and over the nearest steps, those for which
no newer forecast was published, so that two origins share no period: the mean error, the absolute error less that of the
baseline, and how often the 80 % interval was missed. Drift is reported if all of these hold:

1. the newest origins are off by more than a person would ignore;
2. they are above zero by three standard errors;
3. the Page-Hinkley test raises an alarm: a CUSUM of Page (1954), Biometrika 41, about the running mean
   (Hinkley 1971, Biometrika 58).

The test is implemented here in a few lines, because importing it from river takes seconds, at every run. The tests compare its
alarms with river's.

In 200 simulated years of days, 400 of days forecast weekly, and 200 times five years of months, of one series and of
twenty, no sound model is found to drift. A bias of twice the noise of the first step is found after about 20 origins of
one series, 40 at the most, and 10 of a panel, 16 at the most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.text import counted
from pipeline.timeseries.frequency import Periods

Array = npt.NDArray[np.float64]
DriftKind = Literal["bias", "skill", "coverage"]

#: with fewer origins no drift is reported
MIN_ORIGINS = 8
#: newest origins that have to be off themselves
_NUM_RECENT = 10
#: the newest origins are off by more than so many standard errors …
_STANDARD_ERRORS = 3.0
#: … and by a fifth of a usual seasonal difference, or by 15 points of coverage of the nominal 80
_MIN_BIAS, _MIN_COVERAGE = 0.2, 0.65
#: of the Page-Hinkley test, in standard deviations: the increase that is tolerated, and the threshold of the sum
_TOLERATED, _THRESHOLD = 0.5, 18.0
#: values of a sound model that the test is started with
_NUM_SOUND = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomesByPeriod:
    """How one model's forecasts turned out at n origins, oldest first; errors in units of each series' scale."""

    origin: Periods  # [n]
    bias: Array  # [n], mean of forecast minus observed
    error: Array  # [n], mean absolute error
    naive_error: Array  # [n], that of the recipe's baseline; NaN where it was not kept
    inside_80: Array  # [n], share inside the 80 % interval

    def __len__(self) -> int:
        return len(self.origin)


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftFinding:
    """What is wrong with a model, by the outcomes of its published forecasts."""

    what: DriftKind
    #: in words, with figures
    reason: str
    #: origin at which the test raised the alarm
    origin: np.datetime64


@dataclass(frozen=True, kw_only=True, slots=True)
class _Monitored:
    """One of the monitored series of origins."""

    what: DriftKind
    values: Array  # [n], about zero for a sound model, above it for one that drifts
    #: whether the newest origins are off by more than a person would ignore
    is_relevant: bool
    reason: str


def find_drift(outcomes: OutcomesByPeriod) -> DriftFinding | None:
    """The first of bias, skill and coverage that has drifted; None for a sound model.

    Give it the outcomes of one model only: monitoring starts again after each training. Until then the same drift is
    found at every call.
    """
    for monitored in (_monitor_bias(outcomes), _monitor_skill(outcomes), _monitor_coverage(outcomes)):
        values = monitored.values
        if len(values) < MIN_ORIGINS or not monitored.is_relevant or not _is_recently_high(values):
            continue
        alarm = _find_rise(values)
        if alarm is not None:
            return DriftFinding(what=monitored.what, reason=monitored.reason, origin=outcomes.origin[alarm])
    return None


def page_hinkley_alarm(values: Sequence[float], *, tolerated: float, threshold: float, min_values: int) -> int | None:
    """The position at which the Page-Hinkley test for an increase of the mean raises its first alarm; None: it does not.

    With the running mean m_t the sum S_t = Σ (x_t - m_t - tolerated) grows after an increase; the alarm is raised when it
    exceeds its minimum so far by more than the threshold. NaN raises none from there on.

    Args:
        values: in the order of time.
        tolerated: δ, the size of a change that raises no alarm.
        threshold: λ, which the sum must exceed.
        min_values: there is no alarm before so many values.
    """
    mean = total = 0.0
    lowest = float("inf")
    for count, value in enumerate(values, start=1):
        mean += (value - mean) * (1 / count)
        total = total + (value - mean) - tolerated
        lowest = min(lowest, total)
        if count >= min_values and total - lowest > threshold:
            return count - 1
    return None


def _monitor_bias(outcomes: OutcomesByPeriod) -> _Monitored:
    recent = _mean(outcomes.bias[-_NUM_RECENT:])
    side = "high" if recent > 0 else "low"
    return _Monitored(
        what="bias",
        values=outcomes.bias * np.sign(recent),
        is_relevant=abs(recent) > _MIN_BIAS,
        reason=f"forecasts are {abs(recent):.2f} of a usual seasonal difference too {side}, {_recent_origins(outcomes)}",
    )


def _monitor_skill(outcomes: OutcomesByPeriod) -> _Monitored:
    error, baseline = _mean(outcomes.error[-_NUM_RECENT:]), _mean(outcomes.naive_error[-_NUM_RECENT:])
    figures = f"errors are {error:.2f} of a usual seasonal difference, the baseline's {baseline:.2f}"
    return _Monitored(
        what="skill",
        values=outcomes.error - outcomes.naive_error,
        is_relevant=error > baseline,
        reason=f"{figures}, {_recent_origins(outcomes)}",
    )


def _monitor_coverage(outcomes: OutcomesByPeriod) -> _Monitored:
    inside = _mean(outcomes.inside_80[-_NUM_RECENT:])
    return _Monitored(
        what="coverage",
        values=0.8 - outcomes.inside_80,
        is_relevant=inside < _MIN_COVERAGE,
        reason=f"{inside:.0%} of the values fell inside the 80 % interval, {_recent_origins(outcomes)}",
    )


def _recent_origins(outcomes: OutcomesByPeriod) -> str:
    return f"on average over the last {counted(len(outcomes.origin[-_NUM_RECENT:]), 'origin')}"


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else 0.0


def _deviation(values: Array) -> float:
    """Standard deviation, at least a third of the mean's size: nearly constant values are not infinitely certain."""
    return max(float(values.std(ddof=1)), abs(_mean(values)) / 3, float(np.finfo(float).tiny))


def _is_recently_high(values: Array) -> bool:
    """Whether the newest values are above zero by more than chance."""
    recent = values[-_NUM_RECENT:]
    return _mean(recent) > _STANDARD_ERRORS * _deviation(values) / float(np.sqrt(len(recent)))


def _find_rise(values: Array) -> int | None:
    """The position at which it is certain that values have risen above zero, where those of a sound model are."""
    standardized = (values / _deviation(values)).tolist()
    sound = [0.0] * _NUM_SOUND
    alarm = page_hinkley_alarm(
        sound + standardized, tolerated=_TOLERATED, threshold=_THRESHOLD, min_values=_NUM_SOUND + MIN_ORIGINS
    )
    return None if alarm is None else alarm - _NUM_SOUND
