"""Keep, fine-tune or retrain: every case of the decision, with its reason."""

from __future__ import annotations

import pytest

from pipeline.policy import Champion, Decision, decide
from pipeline.recipe import Recipe
from tests.examples import small_recipe

CHANGED = "the recipe has changed since the training"


def recipe_with(policy: str = "auto", retrain_after: int | None = None) -> Recipe:
    recipe = small_recipe()
    training = recipe.training.model_copy(update={"policy": policy, "retrain_after": retrain_after})
    return recipe.model_copy(update={"training": training})


def champion(new_periods: int = 0, *, fingerprint: str | None = None) -> Champion:
    return Champion(
        model_version=1,
        training_fingerprint=fingerprint or small_recipe().training_fingerprint,
        new_periods=new_periods,
    )


@pytest.mark.parametrize("asked", [None, "retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("policy", ["auto", "retrain", "fine-tune", "keep"])
def test_the_first_model_is_trained_whatever_anybody_says(policy: str, asked: str | None) -> None:
    assert decide(recipe_with(policy), None, asked=asked) == Decision(training="retrain", reason="no model yet")


@pytest.mark.parametrize(
    ("policy", "new_periods", "training", "reason"),
    [
        ("auto", 0, "keep", "nothing new since the training"),
        ("auto", 1, "keep", "1 new period, due after 3"),
        ("auto", 2, "keep", "2 new periods, due after 3"),
        ("auto", 3, "retrain", "3 new periods, due after 3"),
        ("auto", 40, "retrain", "40 new periods, due after 3"),
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
    assert decide(recipe_with(policy), champion(new_periods)) == Decision(training=training, reason=reason)


@pytest.mark.parametrize(("new_periods", "training"), [(4, "keep"), (5, "retrain")])
def test_a_recipe_may_say_after_how_many_new_periods_it_retrains(new_periods: int, training: str) -> None:
    decision = decide(recipe_with(retrain_after=5), champion(new_periods))

    assert decision == Decision(training=training, reason=f"{new_periods} new periods, due after 5")


@pytest.mark.parametrize("asked", ["retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("policy", ["auto", "retrain", "fine-tune", "keep"])
@pytest.mark.parametrize("new_periods", [0, 40])
def test_what_a_person_asks_for_overrules_the_policy(policy: str, asked: str, new_periods: int) -> None:
    assert decide(recipe_with(policy), champion(new_periods), asked=asked) == Decision(
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
    decision = decide(recipe_with(policy), champion(fingerprint="another"), asked=asked)

    assert decision == Decision(training=training, reason=reason)
