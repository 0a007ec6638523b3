"""Keep, fine-tune or retrain? A pure decision with its reason."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import counted
from pipeline.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Champion:
    """What the decision needs to know of the model that publishes."""

    model_version: int
    training_fingerprint: str
    #: periods observed since its cutoff
    new_periods: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do, and why, in words for people."""

    #: "retrain", "fine-tune" or "keep"
    training: str
    reason: str


def decide(recipe: Recipe, champion: Champion | None, *, asked: str | None = None) -> Decision:
    """The kind of training that is due.

    Args:
        recipe: its policy decides where nobody asks.
        champion: the model that publishes; None before the first.
        asked: what a person asked for, if anything: it overrules the policy.
    """
    if champion is None:
        return Decision(training="retrain", reason="no model yet")
    if asked == "retrain":
        return Decision(training="retrain", reason="asked for")
    if champion.training_fingerprint != recipe.training_fingerprint:
        if asked == "keep":
            return Decision(training="keep", reason="asked for, though the recipe has changed since the training")
        return Decision(training="retrain", reason="the recipe has changed since the training")
    if asked is not None:
        return Decision(training=asked, reason="asked for")
    if recipe.training.policy == "keep":
        return Decision(training="keep", reason="the recipe's policy is keep")
    due_after = recipe.training.retrain_after or recipe.horizon
    if champion.new_periods == 0:
        return Decision(training="keep", reason="nothing new since the training")
    if recipe.training.policy != "auto":
        return Decision(training=recipe.training.policy, reason=f"the recipe's policy is {recipe.training.policy}")
    if champion.new_periods < due_after:
        return Decision(training="keep", reason=f"{counted(champion.new_periods, 'new period')}, due after {due_after}")
    return Decision(training="retrain", reason=f"{counted(champion.new_periods, 'new period')}, due after {due_after}")
