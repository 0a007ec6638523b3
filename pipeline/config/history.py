"""The shortest history that a recipe can be trained on."""

from __future__ import annotations

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.errors import NotEnoughHistory
from pipeline.text import counted


def require_history(series: str, num_observations: int, recipe: Recipe) -> None:
    """Refuse a history that does not hold one context and one horizon.

    Raises:
        NotEnoughHistory: the series has too few observations to train on.
    """
    needed = recipe.least_history
    if num_observations < needed:
        has, missing = counted(num_observations, "observation"), needed - num_observations
        if recipe.model.architecture == GLOBAL:
            raise NotEnoughHistory(
                f'series "{series}" has {has}, the global network and horizon {recipe.horizon} '
                f"need {needed}: {missing} are missing; add them, or shorten horizon"
            )
        raise NotEnoughHistory(
            f'series "{series}" has {has}, context {needed - recipe.horizon} + horizon '
            f"{recipe.horizon} need {needed}: {missing} are missing; add them, or shorten model.context or horizon"
        )
