"""What the log of a Prefect run shows: our lines, and a known error in one line."""

from __future__ import annotations

import logging

import flows
import pipeline
from pipeline.errors import NextperiodError


def set_up_run_log() -> None:
    """Show records of our packages from INFO on, and no tracebacks of known errors; a second call changes nothing."""
    for package in (flows, pipeline):
        logging.getLogger(package.__name__).setLevel(logging.INFO)
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_drop_traceback)


def _drop_traceback(record: logging.LogRecord) -> bool:
    """Drop the traceback of an error whose message says all there is to say; every record is kept."""
    if record.exc_info and isinstance(record.exc_info[1], NextperiodError):
        record.exc_info = None
    return True
