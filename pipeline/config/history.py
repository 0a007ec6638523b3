"""The least history that a recipe needs."""

from __future__ import annotations

from pipeline.config.architectures import GLOBAL
from pipeline.config.recipe import Recipe
from pipeline.errors import NotEnoughHistory
from pipeline.text import counted


def require_history(series: str, has: int, recipe: Recipe) -> None:
    """Refuse a history on which nothing can be trained.

    Raises:
        NotEnoughHistory: `has` observations do not hold one context and one horizon.
    """
    needed = recipe.least_history
    if has < needed:
        if recipe.model.architecture == GLOBAL:
            raise NotEnoughHistory(
                f'series "{series}" has {counted(has, "observation")}, the global network and horizon {recipe.horizon} '
                f"need {needed}: {needed - has} are missing; add them, or shorten horizon"
            )
        raise NotEnoughHistory(
            f'series "{series}" has {counted(has, "observation")}, context {needed - recipe.horizon} + horizon '
            f"{recipe.horizon} need {needed}: {needed - has} are missing; add them, or shorten model.context or horizon"
        )
