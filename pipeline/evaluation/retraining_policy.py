"""Keep, fine-tune or retrain? A pure decision with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.recipe import Recipe
from pipeline.text import counted

#: fitted from the seed again after so many test parts of new periods, fine-tuned after one
TEST_PARTS_TO_RETRAIN = 4
#: of the time of a training from the seed that fine-tuning takes on 1,000 series and more: `tests/benchmarks/fine_tuning.py`
FINE_TUNING_TAKES = 0.35


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelHistory:
    """What the decision needs to know of the models so far."""

    #: of the newest, promoted or not
    training_fingerprint: str
    #: periods observed since its cutoff
    new_periods: int
    #: periods observed since the cutoff of the newest that was fitted from the seed
    age: int = 0
    #: what the published forecasts of the champion show, in words
    drift: str | None = None
    #: why the champion cannot be used; None: it can
    unusable: str | None = None
    #: what a training from the seed took, in seconds
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingChoice:
    """What to do, and why, in words for people."""

    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str


def choose_training(recipe: Recipe, known: ModelHistory | None, *, asked: str | None = None) -> TrainingChoice:
    """The kind of training that is due.

    Args:
        recipe: its policy decides where nobody asks.
        known: of the models so far; None before the first.
        asked: what a person asked for, if anything: it overrules the policy.
    """
    if known is None:
        return TrainingChoice(training="retrain", reason="no model yet")
    if asked == "retrain":
        return TrainingChoice(training="retrain", reason="asked for")
    if known.training_fingerprint != recipe.training_fingerprint:
        if asked == "keep":
            return TrainingChoice(training="keep", reason="asked for, though the recipe has changed since the training")
        return TrainingChoice(training="retrain", reason="the recipe has changed since the training")
    if asked is not None:
        return TrainingChoice(training=asked, reason="asked for")
    if recipe.training.policy == "keep":
        return TrainingChoice(training="keep", reason="the recipe's policy is keep")
    if known.unusable is not None:
        return TrainingChoice(training="retrain", reason=f"the champion cannot be used: {known.unusable}")
    if known.new_periods == 0:
        return TrainingChoice(training="keep", reason="nothing new since the training")
    if recipe.training.policy != "auto":
        return TrainingChoice(
            training=recipe.training.policy, reason=f"the recipe's policy is {recipe.training.policy}"
        )
    return _within_budget(recipe, known, _due(recipe, known))


def is_judged(recipe: Recipe, new_periods: int) -> bool:
    """Whether enough is new for what drift would bring about."""
    return recipe.training.policy == "auto" and new_periods >= min(_periods_until(recipe))


def _periods_until(recipe: Recipe) -> tuple[int, int]:
    """New periods after which it is fine-tuned, and fitted from the seed."""
    training = recipe.training
    return (
        training.fine_tune_after or recipe.test_periods,
        training.retrain_after or TEST_PARTS_TO_RETRAIN * recipe.test_periods,
    )


def _due(recipe: Recipe, known: ModelHistory) -> TrainingChoice:
    fine_tune_after, retrain_after = _periods_until(recipe)
    new, age = counted(known.new_periods, "new period"), counted(known.age, "period")
    if known.age >= retrain_after and known.new_periods >= min(fine_tune_after, retrain_after):
        return TrainingChoice(
            training="retrain", reason=f"{age} since the last fit from the seed, due after {retrain_after}"
        )
    if known.drift is not None and known.new_periods >= min(fine_tune_after, retrain_after):
        return TrainingChoice(training="retrain", reason=f"drift: {known.drift}")
    if known.new_periods >= fine_tune_after:
        return TrainingChoice(training="fine-tune", reason=f"{new}, due after {fine_tune_after}")
    return TrainingChoice(training="keep", reason=f"{new}, due after {min(fine_tune_after, retrain_after)}")


def _within_budget(recipe: Recipe, known: ModelHistory, due: TrainingChoice) -> TrainingChoice:
    """What is due, or what of it the recipe's time allows, going by how long the last training took."""
    budget = recipe.training.budget_minutes
    if budget is None or known.seconds is None or due.training == "keep":
        return due
    takes = {"retrain": known.seconds / 60, "fine-tune": FINE_TUNING_TAKES * known.seconds / 60}
    if takes[due.training] <= budget:
        return due
    why = f"{due.reason}; a {due.training} takes about {takes[due.training]:.0f} min of training.budget_minutes = {budget:g}"
    if due.training == "retrain" and takes["fine-tune"] <= budget:
        return TrainingChoice(training="fine-tune", reason=why)
    return TrainingChoice(training="keep", reason=why)
