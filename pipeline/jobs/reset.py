"""Start a recipe's history again: every value is withdrawn, and the next cycle reads the source from its beginning."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import NoObservations
from pipeline.storage.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class ResetResult:
    """What a reset withdraws, or would withdraw."""

    num_series: int
    num_values: int
    #: the model that no longer publishes; None if there is none
    model_version: int | None


def preview_reset(recipe: Recipe, store: Store) -> ResetResult:
    """Say what a reset of the recipe would withdraw; nothing is written.

    Raises:
        NoObservations: there is nothing to reset.
    """
    num_series, num_values = store.batches.count_current(recipe.name)
    champion = store.models.champion(recipe.name)
    if num_values == 0 and champion is None:
        raise NoObservations(f"{recipe.name} has no observations and no model: there is nothing to reset")
    version = champion.model_version if champion else None
    return ResetResult(num_series=num_series, num_values=num_values, model_version=version)


def reset_recipe(recipe: Recipe, store: Store, now: datetime) -> ResetResult:
    """Withdraw all values of a recipe and retire its champion, in one transaction.

    Nothing is deleted: published forecasts stay, and past runs can be reproduced. The next cycle ingests whatever the
    source delivers as if it were the first delivery, and trains a new model.

    Raises:
        NoObservations: there is nothing to reset.
    """
    result = preview_reset(recipe, store)
    store.batches.reset(recipe.name, now)
    return result
