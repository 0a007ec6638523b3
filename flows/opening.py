"""A recipe with the store and the registry that the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.database import open_database
from pipeline.recipe import Recipe, load_recipe
from pipeline.registry import Registry
from pipeline.settings import settings_from
from pipeline.store import Store


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A recipe with the store and the registry that the environment names, and the clock's reading."""

    recipe: Recipe
    store: Store
    registry: Registry
    now: datetime
    seconds: dict[str, float] = field(default_factory=dict)


@contextmanager
def opened(recipe: str) -> Iterator[Opened]:
    """Everything a flow works with, by the recipe's name; closed at the end.

    Raises:
        Permanent: the recipe is not valid, or the schema is not the code's.
        DatabaseUnavailable: the database cannot be reached.
    """
    settings = settings_from()
    database = open_database(settings.database_url)
    try:
        found = load_recipe(recipe, settings.recipes)
        database.require_schema()
        yield Opened(
            recipe=found, store=Store(database), registry=Registry(settings.tracking_uri), now=datetime.now(UTC)
        )
    finally:
        database.close()
