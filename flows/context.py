"""Open a recipe together with the store and the MLflow registry that the environment names."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_chain, wait_fixed

from pipeline.config.loader import find_recipe, load_recipe
from pipeline.config.recipe import Recipe, recipe_from_definition
from pipeline.config.settings import read_settings
from pipeline.errors import InvalidRecipe, PrefectUnavailable, Transient
from pipeline.progress_log import log_progress
from pipeline.storage.engine import open_database, open_for_reading
from pipeline.storage.schema import check_schema, require_schema
from pipeline.storage.store import Store
from pipeline.tracking.registry import Registry

logger = logging.getLogger(__name__)

#: waits between attempts when a source, the database or the registry is temporarily away
RETRY_AFTER_SECONDS = [2, 10, 60]

Job = Callable[..., Any]


def utc_now() -> datetime:
    """The clock of a command: the present instant in UTC."""
    return datetime.now(UTC)


def add_retries(job: Job) -> Job:
    """Wrap a job so that it is retried in this process, on `Transient` errors only."""
    return retry(
        retry=retry_if_exception_type(Transient),
        wait=wait_chain(*map(wait_fixed, RETRY_AFTER_SECONDS)),
        stop=stop_after_attempt(1 + len(RETRY_AFTER_SECONDS)),
        reraise=True,
    )(job)


@dataclass(frozen=True, kw_only=True)
class RunContext:
    """What every step of a command needs: the recipe, its store, the MLflow registry and the clock."""

    recipe: Recipe
    store: Store
    registry: Registry
    clock: Callable[[], datetime]
    #: reading of the clock when the context was opened
    now: datetime
    #: wraps a job into a step: retried in this process, or by Prefect
    as_step: Callable[[Job], Job] = add_retries
    #: duration of the steps so far, by step
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def sql_seconds(self) -> float:
        """Seconds that the steps so far spent in statements of the store."""
        return round(self.store.database.timer.seconds, 3)

    def run_step(self, step: str, job: Job, *arguments: Any, **options: Any) -> Any:
        """Run a job of the recipe as a step, and log how far it is; its duration is added to `seconds[step]`."""
        logger.debug("%s of %s started", step, self.recipe.name, extra={"step": step})
        started = time.perf_counter()
        try:
            with log_progress(f"{step} of {self.recipe.name}"):
                return self.as_step(job)(self.recipe, self.store, *arguments, **options)
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + time.perf_counter() - started, 3)


@contextmanager
def open_context(
    recipe: str, *, as_step: Callable[[Job], Job] = add_retries, as_it_ran: bool = False
) -> Iterator[RunContext]:
    """Open a recipe with its store and registry; the database is closed at the end.

    Args:
        recipe: name of the recipe, or path to a TOML file.
        as_step: wraps a job into a step.
        as_it_ran: where no file of that name is found, open the recipe as it ran last, for looking at its results.

    Raises:
        Permanent: the recipe is invalid, or the database schema does not match the code.
        DatabaseUnavailable: the database cannot be reached.
    """
    settings = read_settings()
    database = open_database(settings.database_url)
    try:
        store = Store(database)
        if as_it_ran and find_recipe(recipe, settings.recipes) is None:
            loaded_recipe = _recipe_of_store(recipe, store) or load_recipe(recipe, settings.recipes)
        else:
            loaded_recipe = load_recipe(recipe, settings.recipes)
        require_schema(database)
        yield RunContext(
            recipe=loaded_recipe,
            store=store,
            registry=Registry(settings.tracking_uri, utc_now),
            clock=utc_now,
            now=utc_now(),
            as_step=as_step,
        )
    finally:
        database.close()


@contextmanager
def open_store() -> Iterator[Store]:
    """Open the store that the environment names; the database is closed at the end.

    Raises:
        Permanent: the database schema does not match the code.
        DatabaseUnavailable: the database cannot be reached.
    """
    database = open_database(read_settings().database_url)
    try:
        require_schema(database)
        yield Store(database)
    finally:
        database.close()


@contextmanager
def open_store_for_reading() -> Iterator[Store]:
    """Open the store that the environment names so that nothing in it can change; it is closed at the end.

    Raises:
        Permanent: there is no schema, or one that does not match the code.
        DatabaseUnavailable: there is no such database, or it cannot be reached.
    """
    database = open_for_reading(read_settings().database_url)
    try:
        check_schema(database)
        yield Store(database)
    finally:
        database.close()


def _recipe_of_store(name: str, store: Store) -> Recipe | None:
    """The recipe as it ran last; None if the store has none of that name.

    Raises:
        InvalidRecipe: an earlier release stored it with keys that are no longer known.
    """
    require_schema(store.database)
    definition = store.recipes.current_definition(name)
    try:
        return None if definition is None else recipe_from_definition(json.loads(definition))
    except ValueError:
        raise InvalidRecipe(
            f'recipe "{name}" ran last with keys that this release does not know: give the path to its TOML file'
        ) from None


def require_prefect(api_url: str) -> None:
    """Check that the Prefect server answers.

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
