"""The gate: whether a challenger replaces the champion, decided by origins that neither was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr  # `scipy.stats` takes a third of a second to import

from pipeline.config.recipe import FEWEST_PERIODS
from pipeline.records.training import NOT_PROMOTED, PROMOTED
from pipeline.text import counted

Array = npt.NDArray[np.float64]

#: probability of promoting a challenger that is no better
SIGNIFICANCE_LEVEL = 0.05
#: a smaller gain, as a share of the champion's error, does not justify another model
MIN_GAIN = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorComparison:
    """Absolute scaled errors of T periods, each the mean over series and steps, from the same origins."""

    challenger: Array  # [T]
    baseline: Array  # [T]
    #: [T]; None: there is no champion that can be compared
    champion: Array | None
    num_series: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the challenger is promoted, and why, in words for people."""

    outcome: Literal["promoted", "not promoted"]
    reason: str
    p_value: float | None = None


def decide_promotion(comparison: ErrorComparison | None, *, baseline: str, replaced: str | None) -> Verdict:
    """Whether the challenger publishes from now on.

    It must not be worse than the baseline, and its gain over the champion must be significantly more than `MIN_GAIN`.

    Args:
        comparison: the errors; None: there was no origin to compare at.
        baseline: its name.
        replaced: why there is no champion to beat, such as that this is the first model: then it is promoted; None:
            there is one.
    """
    if replaced is not None:
        return Verdict(outcome=PROMOTED, reason=replaced)
    champion = None if comparison is None else comparison.champion
    num_periods = 0 if comparison is None or champion is None else len(comparison.challenger)
    if comparison is None or champion is None or num_periods < FEWEST_PERIODS:
        return _reject(
            f"{counted(num_periods, 'period')} that neither it nor the champion has seen, {FEWEST_PERIODS} needed"
        )
    ours, theirs, simple = (float(errors.mean()) for errors in (comparison.challenger, champion, comparison.baseline))
    if not np.isfinite([ours, theirs, simple]).all():
        return _reject("its errors cannot be scaled: no series has a season that changes")
    if ours > simple:
        return _reject(f"worse than {baseline}: MASE {ours:.3f} against {simple:.3f}")
    p_value = float(diebold_mariano_p_value(champion - comparison.challenger - MIN_GAIN * theirs))
    figures = f"MASE {ours:.3f} against the champion's {theirs:.3f} over {counted(num_periods, 'period')}"
    if p_value > SIGNIFICANCE_LEVEL:
        insignificant = f"no gain of {MIN_GAIN:.0%} at the level of {SIGNIFICANCE_LEVEL:.0%} (p = {p_value:.2f})"
        return _reject(f"{figures}: {insignificant}", p_value)
    return Verdict(outcome=PROMOTED, reason=f"{figures} (p = {p_value:.3f})", p_value=p_value)


def _reject(reason: str, p_value: float | None = None) -> Verdict:
    return Verdict(outcome=NOT_PROMOTED, reason=reason, p_value=p_value)


def diebold_mariano_p_value(gains: Array) -> Any:
    """One-sided p-value of the Diebold-Mariano test that the mean gain is above 0, of gains [T] or of each row [N, T].

    Gains d_1 … d_T are loss differentials of successive periods (Diebold and Mariano 1995, Journal of Business &
    Economic Statistics 13(3)). The p-value is the larger one of two tests, which differ in the variance of d:

    - *autocorrelated gains*: the long-run variance by the equal-weighted cosine estimator of Lazarus, Lewis, Stock and
      Watson (2018), Journal of Business & Economic Statistics 36(4). With the B = 0.4 T^(2/3) slowest cosine waves,
      ω² = (1/B) Σ_j [√(2/T) Σ_t d_t cos(π j (t - 1/2) / T)]², and √T mean(d) / ω has Student's distribution with
      B degrees of freedom, also for few periods;
    - *independent gains*: the sample variance s², with T - 1 degrees of freedom.

    The second test is our addition. For few periods ω² has two or three waves, which are small by luck now and then.

    Gains that are all equal have the p-value 0 if they are above 0, else 1.
    """
    num_periods = gains.shape[-1]
    num_waves = max(1, int(0.4 * num_periods ** (2 / 3)))
    waves = np.cos(
        np.pi * np.arange(1, num_waves + 1)[:, None] * (np.arange(num_periods) + 0.5) / num_periods
    )  # [B, T]
    mean = gains.mean(axis=-1)
    deviation = gains.std(axis=-1, ddof=1)
    is_constant = deviation <= 1e-12 * np.abs(gains).max(axis=-1)  # equal but for rounding
    deviation = np.where(is_constant, 1.0, deviation)
    long_run_variance = (2 / num_periods) * np.square(gains @ waves.T).mean(axis=-1)
    long_run_deviation = np.maximum(np.sqrt(long_run_variance), 1e-12 * deviation)
    p_if_independent = stdtr(num_periods - 1, -np.sqrt(num_periods) * mean / deviation)
    p_if_autocorrelated = stdtr(num_waves, -np.sqrt(num_periods) * mean / long_run_deviation)
    p_value = np.maximum(p_if_independent, p_if_autocorrelated)
    return np.where(is_constant, np.where(mean > 0, 0.0, 1.0), p_value)


def is_significantly_worse(errors: Array, baseline: Array, *, num_tests: int = 1) -> npt.NDArray[np.bool_]:
    """Which series [S] a model forecasts significantly worse than a baseline, by more than `MIN_GAIN`.

    Args:
        errors: of the model, [S, T].
        baseline: errors of the baseline in the same periods, [S, T]. A series with a NaN in either is not worse.
        num_tests: baselines that the model is compared with, among which the level is shared (Bonferroni).
    """
    if errors.shape[1] < FEWEST_PERIODS:
        return np.zeros(len(errors), bool)
    is_known = np.asarray(~np.isnan(errors + baseline).any(axis=1))
    excess = np.where(is_known[:, None], errors - (1 + MIN_GAIN) * baseline, 0.0)
    is_worse: npt.NDArray[np.bool_] = is_known & (diebold_mariano_p_value(excess) <= SIGNIFICANCE_LEVEL / num_tests)
    return is_worse
