"""Record that a command was attempted, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import NextperiodError, is_refusal
from pipeline.storage.store import Store
from pipeline.text import without_secrets


@contextmanager
def record_attempt(recipe: Recipe, store: Store, command: str, clock: Callable[[], datetime]) -> Iterator[list[str]]:
    """Register the recipe, and record when the body begins and how it ends.

    The body appends its status to the list that it gets; without one the attempt is "done". An error is recorded as
    "refused" or "failed", with its message, and raised again.

    Args:
        recipe: for which recipe.
        store: where attempts are recorded.
        command: what is attempted, such as "run" or "ingest".
        clock: read at the beginning and at the end.
    """
    store.recipes.register(recipe)
    attempt_id = store.recipes.begin_attempt(recipe.name, command, clock())
    statuses: list[str] = []
    try:
        yield statuses
    except NextperiodError as error:
        status = "refused" if is_refusal(error) else "failed"
        store.recipes.end_attempt(attempt_id, status, str(error), clock())
        raise
    except BaseException as error:
        message = without_secrets(f"{type(error).__name__}: {error}")
        store.recipes.end_attempt(attempt_id, "failed", message, clock())
        raise
    store.recipes.end_attempt(attempt_id, statuses[-1] if statuses else "done", None, clock())
