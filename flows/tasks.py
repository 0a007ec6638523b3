"""Wrap a job as a Prefect task, retried by class of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from flows import context
from flows.run_log import set_up_run_log
from pipeline.errors import Transient

set_up_run_log()


def as_task(job: Callable[..., Any]) -> Task[..., Any]:
    """Wrap a job as a Prefect task: retried on `Transient` errors only, its result not stored by Prefect."""
    wrapped: Task[..., Any] = task(
        task_run_name=job.__name__,
        retries=len(context.RETRY_AFTER_SECONDS),
        retry_delay_seconds=[float(seconds) for seconds in context.RETRY_AFTER_SECONDS],
        retry_condition_fn=_is_transient,
        cache_policy=NO_CACHE,
        persist_result=False,
    )(job)
    return wrapped


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    return isinstance(state.result(raise_on_failure=False), Transient)
