"""Keep, fine-tune or retrain: every case of the decision, with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.recipe import Recipe
from pipeline.evaluation.retraining_policy import ModelHistory, TrainingChoice, choose_training
from tests.support.examples import small_recipe

CHANGED = "the recipe has changed since the training"


def recipe_with(policy: str = "auto", **training: float | None) -> Recipe:
    recipe = small_recipe()
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"policy": policy, **training})})


def trained(new_periods: int = 0, *, fingerprint: str | None = None, **known: Any) -> ModelHistory:
    return ModelHistory(
        training_fingerprint=fingerprint or small_recipe().training_fingerprint,
        new_periods=new_periods,
        **{"age": new_periods, **known},
    )


@pytest.mark.parametrize("asked", [None, "retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("policy", ["auto", "retrain", "fine-tune", "keep"])
def test_the_first_model_is_trained_whatever_anybody_says(policy: str, asked: str | None) -> None:
    assert choose_training(recipe_with(policy), None, requested=asked) == TrainingChoice(
        training="retrain", reason="no model yet"
    )


@pytest.mark.parametrize(
    ("policy", "new_periods", "training", "reason"),
    [
        ("auto", 0, "keep", "nothing new since the training"),
        ("auto", 1, "keep", "1 new period, due after 6"),
        ("auto", 5, "keep", "5 new periods, due after 6"),
        ("auto", 6, "fine-tune", "6 new periods, due after 6"),
        ("auto", 23, "fine-tune", "23 new periods, due after 6"),
        ("auto", 24, "retrain", "24 periods since the last fit from the seed, due after 24"),
        ("auto", 40, "retrain", "40 periods since the last fit from the seed, due after 24"),
        ("retrain", 0, "keep", "nothing new since the training"),
        ("retrain", 1, "retrain", "the recipe's policy is retrain"),
        ("fine-tune", 0, "keep", "nothing new since the training"),
        ("fine-tune", 1, "fine-tune", "the recipe's policy is fine-tune"),
        ("keep", 0, "keep", "the recipe's policy is keep"),
        ("keep", 40, "keep", "the recipe's policy is keep"),
    ],
)
def test_where_nobody_asks_the_recipe_s_policy_decides(
    policy: str, new_periods: int, training: str, reason: str
) -> None:
    assert choose_training(recipe_with(policy), trained(new_periods)) == TrainingChoice(
        training=training, reason=reason
    )


def test_a_recipe_may_say_after_how_many_periods_it_fine_tunes_and_retrains() -> None:
    recipe = recipe_with(fine_tune_after=5, retrain_after=7)

    decisions = [choose_training(recipe, trained(new, age=age)) for new, age in ((4, 4), (5, 6), (5, 7), (1, 7))]

    assert [one.training for one in decisions] == ["keep", "fine-tune", "retrain", "keep"]
    assert decisions[0].reason == "4 new periods, due after 5"


def test_where_retraining_is_due_sooner_nothing_is_fine_tuned() -> None:
    decisions = [choose_training(recipe_with(retrain_after=2), trained(new)) for new in (1, 2)]

    assert [one.training for one in decisions] == ["keep", "retrain"]


def test_a_champion_that_cannot_be_used_is_replaced_at_once_unless_a_model_is_to_be_kept() -> None:
    broken = trained(0, unusable="network.onnx is missing")

    assert choose_training(recipe_with(), broken) == TrainingChoice(
        training="retrain", reason="the champion cannot be used: network.onnx is missing"
    )
    assert (
        choose_training(recipe_with(budget_minutes=0.1), trained(0, unusable="x", seconds=600.0)).training == "retrain"
    )
    assert choose_training(recipe_with("keep"), broken).training == "keep"
    assert choose_training(recipe_with(), broken, requested="keep").training == "keep"


def test_drift_is_answered_by_a_fit_from_the_seed_but_not_before_another_horizon() -> None:
    drifted = {"age": 8, "drift": "bias since 2024-01-01"}

    decisions = [choose_training(recipe_with(), trained(new, **drifted)) for new in (5, 6)]

    assert decisions == [
        TrainingChoice(training="keep", reason="5 new periods, due after 6"),
        TrainingChoice(training="retrain", reason="drift: bias since 2024-01-01"),
    ]


@pytest.mark.parametrize(
    ("budget", "age", "training"),
    [(10, 24, "retrain"), (9, 24, "fine-tune"), (2, 24, "keep"), (3.5, 6, "fine-tune"), (2, 6, "keep"), (1, 2, "keep")],
)
def test_what_takes_longer_than_the_budget_is_replaced_by_less(budget: float, age: int, training: str) -> None:
    """The last fit from the seed took ten minutes."""
    decision = choose_training(recipe_with(budget_minutes=budget), trained(min(age, 6), age=age, seconds=600))

    assert decision.training == training
    assert ("of training.budget_minutes" in decision.reason) == (
        training != "retrain" and (budget, age) not in ((3.5, 6), (1, 2))
    )


@pytest.mark.parametrize("asked", ["retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("policy", ["auto", "retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("new_periods", [0, 40])
def test_what_a_person_asks_for_overrules_the_policy(policy: str, asked: str, new_periods: int) -> None:
    assert choose_training(recipe_with(policy), trained(new_periods), requested=asked) == TrainingChoice(
        training=asked, reason="asked for"
    )


@pytest.mark.parametrize(
    ("asked", "training", "reason"),
    [
        (None, "retrain", CHANGED),
        ("retrain", "retrain", "asked for"),
        ("fine-tune", "retrain", CHANGED),
        ("keep", "keep", f"asked for, though {CHANGED}"),
    ],
)
@pytest.mark.parametrize("policy", ["auto", "retrain", "fine-tune", "keep"])
def test_a_changed_recipe_is_trained_anew_unless_the_model_is_to_be_kept(
    policy: str, asked: str | None, training: str, reason: str
) -> None:
    decision = choose_training(recipe_with(policy), trained(fingerprint="another"), requested=asked)

    assert decision == TrainingChoice(training=training, reason=reason)
