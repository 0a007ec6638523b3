"""Wrap a job as a Prefect task, retried by class of error."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefect import Task, task
from prefect.cache_policies import NO_CACHE

from flows import context
from pipeline.errors import NextperiodError, Transient


def _drop_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of an error whose message says all there is to say; every record is kept."""
    if record.exc_info and isinstance(record.exc_info[1], NextperiodError):
        record.exc_info = None
    return True


#: a flow asks Prefect's server many times, each of which would be a line in the log of a worker
logging.getLogger("httpx").setLevel(logging.WARNING)
for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_drop_traceback)


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
