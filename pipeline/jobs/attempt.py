"""Record that something was tried, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import (
    NextperiodError,
    is_refusal,
)
from pipeline.storage.store import Store
from pipeline.text import without_secrets


@contextmanager
def record_attempt(recipe: Recipe, store: Store, command: str, clock: Callable[[], datetime]) -> Iterator[list[str]]:
    """Record that something is tried and how it ends; the body appends its status."""
    store.recipes.register(recipe)
    attempt_id = store.recipes.begin_attempt(recipe.name, command, clock())
    outcome: list[str] = []
    try:
        yield outcome
    except NextperiodError as error:
        status = "refused" if is_refusal(error) else "failed"
        store.recipes.end_attempt(attempt_id, status, str(error), clock())
        raise
    except BaseException as error:
        store.recipes.end_attempt(attempt_id, "failed", without_secrets(f"{type(error).__name__}: {error}"), clock())
        raise
    store.recipes.end_attempt(attempt_id, outcome[-1] if outcome else "done", None, clock())
