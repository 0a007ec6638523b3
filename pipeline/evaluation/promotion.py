"""Does the challenger replace the champion? A pure decision, from origins that neither was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

from pipeline.config.recipe import FEWEST_PERIODS
from pipeline.records.training import NOT_PROMOTED, PROMOTED
from pipeline.text import counted

Array = npt.NDArray[np.float64]

#: chance of promoting a challenger that is no better
LEVEL = 0.05
#: a smaller gain, as a share of the champion's loss, is not worth another model
LEAST_GAIN = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorComparison:
    """Scaled absolute errors by period, each the mean over series and steps, from the same origins: [T] each."""

    challenger: Array
    baseline: Array
    #: None: there is no champion that can be compared
    champion: Array | None
    num_series: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of the challenger, and why, in words for people."""

    outcome: Literal["promoted", "not promoted"]
    reason: str
    p_value: float | None = None


def decide(contest: ErrorComparison | None, *, baseline: str, replaced: str | None) -> Verdict:
    """Whether the challenger publishes from now on.

    Args:
        contest: the losses; None: no origin could judge.
        baseline: its name.
        replaced: why it publishes unless it is worse than nothing, such as that it is the first model; None: there is
            a champion to beat.
    """
    if replaced is not None:
        return Verdict(outcome=PROMOTED, reason=replaced)
    if contest is None or contest.champion is None or len(contest.challenger) < FEWEST_PERIODS:
        found = 0 if contest is None or contest.champion is None else len(contest.challenger)
        return _kept(f"{counted(found, 'period')} that neither it nor the champion has seen, {FEWEST_PERIODS} needed")
    ours, theirs, simple = (float(each.mean()) for each in (contest.challenger, contest.champion, contest.baseline))
    if not np.isfinite([ours, theirs, simple]).all():
        return _kept("its errors cannot be scaled: no series has a season that changes")
    if ours > simple:
        return _kept(f"worse than {baseline}: MASE {ours:.3f} against {simple:.3f}")
    p_value = float(diebold_mariano_p_value(contest.champion - contest.challenger - LEAST_GAIN * theirs))
    against = f"MASE {ours:.3f} against the champion's {theirs:.3f} over {counted(len(contest.challenger), 'period')}"
    if p_value > LEVEL:
        return _kept(f"{against}: no gain of {LEAST_GAIN:.0%} at the level of {LEVEL:.0%} (p = {p_value:.2f})", p_value)
    return Verdict(outcome=PROMOTED, reason=f"{against} (p = {p_value:.3f})", p_value=p_value)


def _kept(reason: str, p_value: float | None = None) -> Verdict:
    return Verdict(outcome=NOT_PROMOTED, reason=reason, p_value=p_value)


def diebold_mariano_p_value(gains: Array) -> Any:
    """The one-sided p-value of a mean above 0 of gains that follow each other, [T], or of each row [N, T].

    Gains of neighbouring periods hang together: their long-run variance is that of the equal-weighted cosine
    estimator, whose ratio has Student's distribution also where periods are few: Lazarus, Lewis, Stock and Watson
    (2018), Journal of Business & Economic Statistics 36(4); Diebold and Mariano (1995) for the comparison. Of few
    periods that variance is one of two or three waves, which are small by luck now and then: so the gain must also be
    sure by Student's test of gains that do not hang together.
    """
    length = gains.shape[-1]
    freedom = max(1, int(0.4 * length ** (2 / 3)))
    wave = np.cos(np.pi * np.arange(1, freedom + 1)[:, None] * (np.arange(length) + 0.5) / length)
    mean, spread = gains.mean(axis=-1), gains.std(axis=-1, ddof=1)
    steady = spread <= 1e-12 * np.abs(gains).max(axis=-1)  # all alike but for rounding
    spread = np.where(steady, 1.0, spread)
    in_waves = np.maximum(np.sqrt((2 / length) * np.square(gains @ wave.T).mean(axis=-1)), 1e-12 * spread)
    apart = stats.t.sf(np.sqrt(length) * mean / spread, length - 1)
    together = stats.t.sf(np.sqrt(length) * mean / in_waves, freedom)
    return np.where(steady, np.where(mean > 0, 0.0, 1.0), np.maximum(apart, together))


def worse_than(loss: Array, baseline: Array) -> npt.NDArray[np.bool_]:
    """Which series [S] a model forecasts worse than a baseline, at the same level, by losses [S, T] of the same periods."""
    if loss.shape[1] < FEWEST_PERIODS:
        return np.zeros(len(loss), bool)
    known = np.asarray(~np.isnan(loss + baseline).any(axis=1))
    excess = np.where(known[:, None], loss - (1 + LEAST_GAIN) * baseline, 0.0)
    found: npt.NDArray[np.bool_] = known & (diebold_mariano_p_value(excess) <= LEVEL)
    return found
