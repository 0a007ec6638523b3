"""A job as Prefect's task: tried again by class of error, its result not kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from flows import context
from pipeline.errors import Transient


def as_task(job: Callable[..., Any]) -> Task[..., Any]:
    """A job as a task: tried again only where that can help, its result not kept by Prefect."""
    made: Task[..., Any] = task(
        task_run_name=job.__name__,
        retries=len(context.RETRY_AFTER_SECONDS),
        retry_delay_seconds=[float(seconds) for seconds in context.RETRY_AFTER_SECONDS],
        retry_condition_fn=_is_transient,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(job)
    return made


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)
