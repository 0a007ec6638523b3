"""A recipe with the store and the registry that the environment names."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_chain, wait_fixed

from pipeline.config.loader import load_recipe
from pipeline.config.recipe import Recipe
from pipeline.config.settings import settings_from
from pipeline.errors import PrefectUnavailable, Transient
from pipeline.storage.engine import open_database
from pipeline.storage.schema import require_schema
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry

logger = logging.getLogger(__name__)

#: a source, the database or the registry may be away for a while
RETRY_AFTER_SECONDS = [2, 10, 60]

Job = Callable[..., Any]


def utc_now() -> datetime:
    """The clock that all of a command goes by."""
    return datetime.now(UTC)


def retried(job: Job) -> Job:
    """A job in this process: tried again only where that can help."""
    return retry(
        retry=retry_if_exception_type(Transient),
        wait=wait_chain(*map(wait_fixed, RETRY_AFTER_SECONDS)),
        stop=stop_after_attempt(1 + len(RETRY_AFTER_SECONDS)),
        reraise=True,
    )(job)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """A recipe with the store and the registry that the environment names, and the clock."""

    recipe: Recipe
    store: Store
    registry: Registry
    clock: Callable[[], datetime]
    #: the clock's reading when this was opened
    now: datetime
    #: how a job becomes a step: tried again in this process, or by Prefect
    as_step: Callable[[Job], Job] = retried
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def sql(self) -> float:
        """Seconds of the steps that went to the store's statements."""
        return round(self.store.database.spent.seconds, 3)

    def carry_out(self, step: str, job: Job, *arguments: Any, **options: Any) -> Any:
        """A job of the recipe; how long it took is noted under the step's name, in all."""
        logger.debug("%s of %s began", step, self.recipe.name, extra={"step": step})
        started = time.perf_counter()
        try:
            return self.as_step(job)(self.recipe, self.store, *arguments, **options)
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - started, 3)


@contextmanager
def open_context(recipe: str, *, as_step: Callable[[Job], Job] = retried) -> Iterator[RunContext]:
    """Everything a flow works with, by the recipe's name; closed at the end.

    Args:
        recipe: its name, or a path to a TOML file.
        as_step: how a job becomes a step.

    Raises:
        Permanent: the recipe is not valid, or the schema is not the code's.
        DatabaseUnavailable: the database cannot be reached.
    """
    settings = settings_from()
    database = open_database(settings.database_url)
    try:
        found = load_recipe(recipe, settings.recipes)
        require_schema(database)
        yield RunContext(
            recipe=found,
            store=Store(database),
            registry=Registry(settings.tracking_uri, utc_now),
            clock=utc_now,
            now=utc_now(),
            as_step=as_step,
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
            f"Prefect at {api_url} does not answer: {error}; start the server, or unset PREFECT_API_URL to run without it"
        ) from None
