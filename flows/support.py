"""What all flows need: jobs as tasks that retry by class of error and say how long they took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from flows.opening import Opened
from pipeline.errors import Transient

logger = logging.getLogger(__name__)

#: a source, the database or the registry may be away for a while
RETRY_AFTER_SECONDS = [2, 10, 60]


def carry_out(at: Opened, step: str, job: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A job of the opened recipe as a Prefect task; how long it took is noted under the step's name."""
    logger.debug("%s of %s began", step, at.recipe.name, extra={"step": step})
    started = time.perf_counter()
    try:
        return as_task(job)(at.recipe, at.store, *arguments, **options)
    finally:
        at.seconds[step] = round(time.perf_counter() - started, 3)


def as_task(job: Callable[..., Any]) -> Task[..., Any]:
    """A job as a task: tried again only where that can help, its result not kept by Prefect."""
    made: Task[..., Any] = task(
        task_run_name=job.__name__,
        retries=len(RETRY_AFTER_SECONDS),
        retry_delay_seconds=[float(seconds) for seconds in RETRY_AFTER_SECONDS],
        retry_condition_fn=_is_transient,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(job)
    return made


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)
