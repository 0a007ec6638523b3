"""How a scheduled flow run starts and ends: late runs collapse into the newest one, and none runs without end."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.states import Completed
from prefect.utilities.timeout import timeout

from flows.context import utc_now
from pipeline.errors import Transient

logger = logging.getLogger(__name__)


class FlowTimedOut(Transient):
    """A flow took longer than its deployment allows."""


@contextmanager
def stop_after(minutes: float | None) -> Iterator[None]:
    """Stop what runs inside after so many minutes; None: never.

    Raises:
        FlowTimedOut: it took longer.
    """
    try:
        with timeout(None if minutes is None else 60 * minutes):
            yield
    except TimeoutError:
        assert minutes is not None
        raise FlowTimedOut(
            f"stopped after {minutes:g} minutes: the step at the end of this log did not end; "
            "raise timeout_minutes of the deployment if it takes so long"
        ) from None


def end_if_superseded() -> State[Any] | None:
    """The state to end this run with, where a newer scheduled run of its deployment is due as well, or was; None: go on.

    After a worker was away many runs are late, and start in any order. Each would do the same with the same data. Runs that a
    person started do not end, whatever is due.
    """
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or run.deployment_id is None or not run.auto_scheduled or run.expected_start_time is None:
        return None
    newest = max(_runs_due_after(run, run.expected_start_time), default=None)
    if newest is None:
        return None
    message = f"superseded by the run that was due at {newest.isoformat(timespec='seconds')}"
    logger.info("%s", message)
    return Completed(name="Superseded", message=message)


def _runs_due_after(run: FlowRun, instant: datetime) -> Iterator[datetime]:
    """When other scheduled runs of the same deployment and parameters were due, after an instant; not those that failed."""
    with get_client(sync_client=True) as client:
        others = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
                state=FlowRunFilterState(
                    type=FlowRunFilterStateType(
                        any_=[StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.COMPLETED]
                    )
                ),
                expected_start_time=FlowRunFilterExpectedStartTime(after_=instant, before_=utc_now()),
            )
        )
    for other in others:
        if (
            other.auto_scheduled
            and other.parameters == run.parameters
            and other.expected_start_time not in (None, instant)
        ):
            yield other.expected_start_time
