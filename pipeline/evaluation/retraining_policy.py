"""Whether to keep, fine-tune or retrain the model: a pure decision with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.config.recipe import Recipe
from pipeline.text import counted

#: test parts of new periods after which a network is retrained from scratch; it is fine-tuned after one
TEST_PARTS_TO_RETRAIN = 4
#: time of fine-tuning as a share of retraining, measured on 1,000 series and more: `tests/benchmarks/fine_tuning.py`
FINE_TUNING_TIME_SHARE = 0.35


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelHistory:
    """The facts about the models so far that the decision needs."""

    #: of the newest model, promoted or not
    training_fingerprint: str
    #: periods observed since the newest model's cutoff
    new_periods: int
    #: periods observed since the cutoff of the newest model that was retrained from scratch
    age: int = 0
    #: drift of the champion's published forecasts, in words; None: none was found
    drift: str | None = None
    #: why the champion cannot be used; None: it can
    unusable: str | None = None
    #: duration of the last retraining from scratch
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingChoice:
    """Which training is due, and why, in words for people."""

    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str


def choose_training(recipe: Recipe, history: ModelHistory | None, *, requested: str | None = None) -> TrainingChoice:
    """Which training is due: by request, else by the recipe's policy within its time budget.

    Args:
        recipe: its policy decides where nothing was requested.
        history: of the models so far; None before the first.
        requested: "retrain", "fine-tune" or "keep" of a person; overrules the policy.
    """
    if history is None:
        return TrainingChoice(training="retrain", reason="no model yet")
    if requested == "retrain":
        return TrainingChoice(training="retrain", reason="asked for")
    if history.training_fingerprint != recipe.training_fingerprint:
        if requested == "keep":
            return TrainingChoice(training="keep", reason="asked for, though the recipe has changed since the training")
        return TrainingChoice(training="retrain", reason="the recipe has changed since the training")
    if requested is not None:
        return TrainingChoice(training=requested, reason="asked for")
    return _choose_by_policy(recipe, history)


def _choose_by_policy(recipe: Recipe, history: ModelHistory) -> TrainingChoice:
    policy = recipe.training.policy
    if policy == "keep":
        return TrainingChoice(training="keep", reason="the recipe's policy is keep")
    if history.unusable is not None:
        return TrainingChoice(training="retrain", reason=f"the champion cannot be used: {history.unusable}")
    if history.new_periods == 0:
        return TrainingChoice(training="keep", reason="nothing new since the training")
    if policy != "auto":
        return TrainingChoice(training=policy, reason=f"the recipe's policy is {policy}")
    return _limit_to_budget(recipe, history, _choose_by_age(recipe, history))


def is_drift_due(recipe: Recipe, new_periods: int) -> bool:
    """Whether there are enough new periods for drift to cause a training, so that it is worth looking for."""
    return recipe.training.policy == "auto" and new_periods >= min(_due_after(recipe))


def _due_after(recipe: Recipe) -> tuple[int, int]:
    """New periods after which fine-tuning is due, and periods of age after which retraining from scratch is."""
    fine_tune_after = recipe.training.fine_tune_after or recipe.test_periods
    retrain_after = recipe.training.retrain_after or TEST_PARTS_TO_RETRAIN * recipe.test_periods
    return fine_tune_after, retrain_after


def _choose_by_age(recipe: Recipe, history: ModelHistory) -> TrainingChoice:
    fine_tune_after, retrain_after = _due_after(recipe)
    least_new = min(fine_tune_after, retrain_after)
    has_enough_new = history.new_periods >= least_new
    new, age = counted(history.new_periods, "new period"), counted(history.age, "period")
    if history.age >= retrain_after and has_enough_new:
        return TrainingChoice(
            training="retrain", reason=f"{age} since the last fit from the seed, due after {retrain_after}"
        )
    if history.drift is not None and has_enough_new:
        return TrainingChoice(training="retrain", reason=f"drift: {history.drift}")
    if history.new_periods >= fine_tune_after:
        return TrainingChoice(training="fine-tune", reason=f"{new}, due after {fine_tune_after}")
    return TrainingChoice(training="keep", reason=f"{new}, due after {least_new}")


def _limit_to_budget(recipe: Recipe, history: ModelHistory, due: TrainingChoice) -> TrainingChoice:
    """The training that is due, or a shorter one where it would take longer than the recipe's budget."""
    budget = recipe.training.budget_minutes
    if budget is None or history.seconds is None or due.training == "keep":
        return due
    minutes = {"retrain": history.seconds / 60, "fine-tune": FINE_TUNING_TIME_SHARE * history.seconds / 60}
    if minutes[due.training] <= budget:
        return due
    expected = f"a {due.training} takes about {minutes[due.training]:.0f} min"
    reason = f"{due.reason}; {expected} of training.budget_minutes = {budget:g}"
    if due.training == "retrain" and minutes["fine-tune"] <= budget:
        return TrainingChoice(training="fine-tune", reason=reason)
    return TrainingChoice(training="keep", reason=reason)
