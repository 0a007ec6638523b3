"""A recipe with the store and the registry that the environment names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pipeline.database import open_database
from pipeline.errors import PrefectUnavailable
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


def require_prefect(api_url: str) -> None:
    """Ask a Prefect server whether it is there.

    Raises:
        PrefectUnavailable: it does not answer.
    """
    import httpx

    try:
        httpx.get(f"{api_url.rstrip('/')}/health", timeout=10).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PrefectUnavailable(
            f"Prefect at {api_url} does not answer: {error}; start the server, or unset PREFECT_API_URL to run in this process"
        ) from None
