"""Say in words whether a model can be trusted, from the backtest of its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.text import counted

Array = npt.NDArray[np.float64]

#: fewer origins without a common period are a concern: two can agree by chance
FEW_ORIGINS = 3
#: being better at a smaller share of the origins than this is a concern
MIN_SHARE_WON = 2 / 3
#: a coverage this far from its level is a concern, unless chance explains it
MAX_COVERAGE_ERROR = 0.05

Kind = Literal["yes", "care", "no", "unknown"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """A short answer, with the reasons for and against it."""

    kind: Kind
    answer: str
    #: how much better than the baseline the network is, in a sentence
    skill: str
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole assessment as one paragraph."""
        return " ".join([self.answer, self.skill, *self.reasons])


def assess_model(recipe: Recipe, record: TrainingRecord) -> Assessment:
    """Compare the network with the recipe's baseline on the backtest, and name every reason for caution."""
    baseline, backtest = record.resolve_baseline(recipe.gate.baseline), record.backtest
    if backtest is None:
        answer = "Unknown: the history is too short for a backtest, so nothing was measured."
        return Assessment(kind="unknown", answer=answer, skill=describe_skill(None, baseline), reasons=())
    concerns = tuple(_concerns(backtest, baseline))
    kind = _kind(backtest.skill, bool(concerns))
    answers: dict[Kind, str] = {
        "yes": f"Yes, as far as {counted(backtest.num_apart or 0, 'separate origin')} can tell.",
        "care": "With care.",
        "no": f"Not more than {baseline}: the network was no better.",
        "unknown": "Unknown: the backtest gave no number to compare.",
    }
    return Assessment(
        kind=kind,
        answer=answers[kind],
        skill=describe_skill(backtest.skill, baseline),
        reasons=(*_favorable_reasons(backtest, baseline), *concerns),
    )


def describe_skill(skill: float | None, baseline: str) -> str:
    """Say by how many percent the network's MASE is smaller or larger than the baseline's."""
    if skill is None or not math.isfinite(skill):
        return f"The skill against {baseline} is not defined."
    if skill == 0:
        return f"By MASE the network is as good as {baseline}."
    return f"By MASE the network is {abs(skill):.1%} {'better' if skill > 0 else 'worse'} than {baseline}."


def binomial_interval(levels: Array, num: int) -> tuple[Array, Array]:
    """Return bounds [L] of the share of `num` independent observations that lie below each quantile level [L].

    The share of a calibrated forecast lies within the bounds, which are included, in at least 95 of 100 cases.
    """
    from scipy.stats import binom

    lower, upper = binom.interval(0.95, num, levels)
    return lower / num, upper / num


def _kind(skill: float | None, has_concerns: bool) -> Kind:
    if skill is None or not math.isfinite(skill):
        return "unknown"
    if skill <= 0:
        return "no"
    return "care" if has_concerns else "yes"


def _favorable_reasons(backtest: BacktestRecord, baseline: str) -> Iterator[str]:
    share = backtest.share_won(baseline)
    if share is not None and share >= MIN_SHARE_WON:
        yield f"It was better at {share:.0%} of {counted(backtest.num_origins, 'origin')}."
    for percent, coverage in backtest.coverage.items():
        if coverage is not None and not _is_miscalibrated(backtest, percent, coverage):
            yield f"{_describe_coverage(backtest, percent, coverage)}."


def _concerns(backtest: BacktestRecord, baseline: str) -> Iterator[str]:
    share = backtest.share_won(baseline)
    if share is not None and share < MIN_SHARE_WON:
        yield f"It was better at only {share:.0%} of {counted(backtest.num_origins, 'origin')}."
    for percent, coverage in backtest.coverage.items():
        if coverage is not None and _is_miscalibrated(backtest, percent, coverage):
            width = "narrow" if coverage < int(percent) / 100 else "wide"
            yield f"{_describe_coverage(backtest, percent, coverage)}; chance does not explain this: it is too {width}."
    if not backtest.coverage:
        yield (
            "The width of the intervals is computed from these same errors, so the backtest cannot measure their coverage."
        )
    if backtest.num_apart is None or backtest.num_apart < FEW_ORIGINS:
        yield _describe_few_origins(backtest, baseline)


def _describe_few_origins(backtest: BacktestRecord, baseline: str) -> str:
    apart = backtest.num_apart
    origins = counted(apart, "origin") if apart else "few origins"
    if apart and apart < backtest.num_origins:
        origins += f" (of {backtest.num_origins}; the others share periods with {'it' if apart == 1 else 'them'})"
    return (
        f"All of this was measured from {origins}: too few to be sure of a difference from {baseline}. "
        "A larger backtest.periods gives more origins."
    )


def _describe_coverage(backtest: BacktestRecord, percent: str, coverage: float) -> str:
    num = backtest.hits[0].num if backtest.hits else 0
    inside = f"{round(coverage * num)} of {counted(num, 'observation')}"
    return f"The {percent} % interval, before calibration, contained {inside}"


def _is_miscalibrated(backtest: BacktestRecord, percent: str, coverage: float) -> bool:
    """Whether the coverage differs from its level by more than chance explains, and by so much that it matters."""
    if not backtest.hits:
        return False
    level = int(percent) / 100
    lower, upper = (float(bound[0]) for bound in binomial_interval(np.array([level]), backtest.hits[0].num))
    is_explained_by_chance = lower <= coverage <= upper
    return not is_explained_by_chance and abs(coverage - level) > min(MAX_COVERAGE_ERROR, (1 - level) / 2)
