"""Drift: from what became of the champion's forecasts to the finding that they are not what they were, or should be.

Watched are three averages over the series of each origin's nearest steps, those for which nothing newer was said, so
that two origins share no period: the mean error, the absolute error less that of the baseline, and how often the 80 %
interval held. Each begins from what a sound model shows, goes through the CUSUM of Page (1954, Biometrika 41)
as `river` keeps it, and is told of only where the newest periods are off by more than a person would shrug at.

In 200 simulated years of days, 400 of days forecast weekly, and 200 times five years of months, of one series and of
twenty, no sound model is found fault with. A bias of twice the noise of the first step is found after about 20
origins of one series, 40 at the most, and 10 of a panel, 16 at the most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.timeseries.frequency import Periods

Array = npt.NDArray[np.float64]
What = Literal["bias", "skill", "coverage"]

#: with fewer periods nothing is found
LEAST = 8
#: newest periods that have to be off themselves
_RECENT = 10
#: by so many standard errors, and by so much: a fifth of a usual seasonal difference, and 15 points of 80
_STANDARD_ERRORS, _BIAS, _COVERAGE = 3.0, 0.2, 0.65
#: of Page's test, in standard deviations: shifts of less than twice the first are not looked for, and how far
#: the sum of the others may run; so many periods of a sound model are taken for seen before the first
_ALLOWED, _FAR, _SOUND_BEFORE = 0.5, 18.0, 30


@dataclass(frozen=True, kw_only=True, slots=True)
class OutcomesByPeriod:
    """How one model's forecasts turned out, by origin, oldest first; errors in units of each series' scale."""

    origin: Periods  # [n]
    bias: Array  # [n], mean of forecast minus observed
    error: Array  # [n], mean absolute error
    naive_error: Array  # [n], that of the recipe's baseline; NaN where it was not kept
    inside_80: Array  # [n], share inside the 80 % interval

    def __len__(self) -> int:
        return len(self.origin)


#: which, its values, zero where all is well and above it where not, whether the newest matter, and that in words
_Watched = tuple[What, Array, bool, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong with a model, as its published forecasts turned out."""

    what: What
    #: in words, with figures
    reason: str
    #: origin with which it was certain
    origin: np.datetime64


def found(outcomes: OutcomesByPeriod) -> Finding | None:
    """The first of bias, skill and coverage that is not what it should be; None of a model that is sound.

    Only outcomes of one model are to be given: after a training everything begins anew. Until then the same is
    found again.
    """
    for what, values, is_off, reason in (_bias(outcomes), _skill(outcomes), _coverage(outcomes)):
        at = _changed(values) if len(values) >= LEAST and is_off and _stands_out(values) else None
        if at is not None:
            return Finding(what=what, reason=reason, origin=outcomes.origin[at])
    return None


def _bias(outcomes: OutcomesByPeriod) -> _Watched:
    recent = _mean(outcomes.bias[-_RECENT:])
    side = "high" if recent > 0 else "low"
    reason = f"forecasts are {abs(recent):.2f} of a usual seasonal difference too {side}, {_over(outcomes)}"
    return "bias", outcomes.bias * np.sign(recent), abs(recent) > _BIAS, reason


def _skill(outcomes: OutcomesByPeriod) -> _Watched:
    error, naive = (_mean(each[-_RECENT:]) for each in (outcomes.error, outcomes.naive_error))
    reason = f"errors are {error:.2f} of a usual seasonal difference, the baseline's {naive:.2f}, {_over(outcomes)}"
    return "skill", outcomes.error - outcomes.naive_error, error > naive, reason


def _coverage(outcomes: OutcomesByPeriod) -> _Watched:
    inside = _mean(outcomes.inside_80[-_RECENT:])
    reason = f"{inside:.0%} of the values fell inside the 80 % interval, {_over(outcomes)}"
    return "coverage", 0.8 - outcomes.inside_80, inside < _COVERAGE, reason


def _over(outcomes: OutcomesByPeriod) -> str:
    return f"on average over the last {len(outcomes.origin[-_RECENT:])} origins"


def _mean(values: Array) -> float:
    return float(values.mean()) if len(values) else 0.0


def _deviation(values: Array) -> float:
    """Standard deviation; of values that are all but the same, a part of their size."""
    return max(float(values.std(ddof=1)), abs(_mean(values)) / 3, float(np.finfo(float).tiny))


def _stands_out(values: Array) -> bool:
    """Whether the newest are above zero by more than chance: only then river, which takes seconds to import, is asked."""
    recent = values[-_RECENT:]
    return _mean(recent) > _STANDARD_ERRORS * _deviation(values) / float(np.sqrt(len(recent)))


def _changed(values: Array) -> int | None:
    """With which value it was certain that they rose from zero, where they are when all is well."""
    from river.drift import PageHinkley

    size = _deviation(values)
    least = _SOUND_BEFORE + LEAST
    detector = PageHinkley(min_instances=least, delta=_ALLOWED, threshold=_FAR, alpha=1.0, mode="up")
    for _ in range(_SOUND_BEFORE):
        detector.update(0.0)
    for at, value in enumerate((values / size).tolist()):
        detector.update(value)
        if detector.drift_detected:
            return at
    return None
