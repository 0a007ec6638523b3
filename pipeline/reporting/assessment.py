"""Can a model be trusted? An answer in words, from the figures of its training and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.config.recipe import Recipe
from pipeline.records.training import BacktestRecord, TrainingRecord
from pipeline.text import counted

Array = npt.NDArray[np.float64]

#: fewer origins that share no period are told to be few: two can agree by chance
FEW_ORIGINS = 3
#: a network that is better at less than this share of the origins is not better as a rule
MOSTLY = 2 / 3
#: a coverage this far from its level is told, where chance does not explain it
FAR_OFF = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """A short answer with what speaks for it and against it."""

    #: "yes", "care", "no" or "unknown"
    kind: str
    answer: str
    skill: str
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it in one paragraph."""
        return " ".join([self.answer, self.skill, *self.reasons])


def trust_of(recipe: Recipe, record: TrainingRecord) -> Assessment:
    """What the backtest says for the model against the recipe's baseline, honest about how little it may be."""
    baseline, backtest = recipe.gate.baseline, record.backtest
    if backtest is None:
        answer = "Nobody knows yet: the history is too short for a backtest, so nothing was measured."
        return Assessment(
            kind="unknown", answer=answer, skill=f"The skill against {baseline} is not defined.", reasons=()
        )
    concerns = list(_concerns(backtest, recipe))
    favours = list(_favours(backtest, baseline))
    kind = _kind(backtest.skill, bool(concerns))
    answer = {
        "yes": f"Yes, as far as {counted(backtest.num_apart or 0, 'separate origin')} can tell.",
        "care": "With care.",
        "no": f"Not more than {baseline}: the network was no better.",
        "unknown": "Nobody can tell: the backtest gave no number to compare.",
    }[kind]
    return Assessment(
        kind=kind,
        answer=answer,
        skill=skill_in_words(backtest.skill, baseline),
        reasons=(*favours, *concerns),
    )


def skill_in_words(skill: float | None, baseline: str) -> str:
    """By how much the network is better than its baseline."""
    if skill is None or not math.isfinite(skill):
        return f"The skill against {baseline} is not defined."
    if skill == 0:
        return f"By MASE the network is as good as {baseline}."
    return f"By MASE the network is {abs(skill):.1%} {'better' if skill > 0 else 'worse'} than {baseline}."


def chance_of(levels: Array, num: int) -> tuple[Array, Array]:
    """Where the share of `num` independent observations below each quantile lies in 95 of 100 cases (binomial)."""
    from scipy.stats import binom

    low, high = binom.interval(0.95, num, levels)
    return low / num, high / num


def _kind(skill: float | None, has_concerns: bool) -> str:
    if skill is None or not math.isfinite(skill):
        return "unknown"
    if skill <= 0:
        return "no"
    return "care" if has_concerns else "yes"


def _favours(backtest: BacktestRecord, baseline: str) -> Iterator[str]:
    share = backtest.share_won(baseline)
    if share is not None and share >= MOSTLY:
        yield f"It was better at {share:.0%} of {counted(backtest.num_origins, 'origin')}."
    for percent, coverage in backtest.coverage.items():
        if coverage is not None and not _is_off(backtest, percent):
            yield f"{_held(backtest, percent, coverage)}."


def _concerns(backtest: BacktestRecord, recipe: Recipe) -> Iterator[str]:
    baseline, share = recipe.gate.baseline, backtest.share_won(recipe.gate.baseline)
    if share is not None and share < MOSTLY:
        yield f"It was better at only {share:.0%} of {counted(backtest.num_origins, 'origin')}."
    for percent, coverage in backtest.coverage.items():
        if coverage is not None and _is_off(backtest, percent):
            wrong = "too narrow" if coverage < int(percent) / 100 else "wider than need be"
            yield f"{_held(backtest, percent, coverage)}, which chance does not explain: it is {wrong}."
    if not backtest.coverage:
        yield "The width of the intervals comes from these same errors, so the backtest cannot tell how often they hold."
    apart = backtest.num_apart
    if apart is None or apart < FEW_ORIGINS:
        told = counted(apart, "origin") if apart else "few origins"
        shared = f" (of {backtest.num_origins}, the others share periods with {'it' if apart == 1 else 'them'})"
        yield (
            f"All of this was measured from {told}{shared if apart and apart < backtest.num_origins else ''}: too few to "
            f"be sure of a difference to {baseline}; a longer backtest.periods measures more."
        )


def _held(backtest: BacktestRecord, percent: str, coverage: float) -> str:
    num = backtest.hits[0].num if backtest.hits else 0
    return f"The {percent} % interval, before it is calibrated, held {round(coverage * num)} of {counted(num, 'observation')}"


def _is_off(backtest: BacktestRecord, percent: str) -> bool:
    """Outside of what chance explains, and by so much that it matters."""
    coverage, level = backtest.coverage[percent], int(percent) / 100
    if coverage is None or not backtest.hits:
        return False
    low, high = (float(bound[0]) for bound in chance_of(np.array([level]), backtest.hits[0].num))
    return not low <= coverage <= high and abs(coverage - level) > min(FAR_OFF, (1 - level) / 2)
