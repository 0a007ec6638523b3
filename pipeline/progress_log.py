"""Log a line every half minute about work that takes long, for those who read a log and watch no terminal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from threading import Event, Thread

logger = logging.getLogger(__name__)

#: seconds between two lines
INTERVAL_SECONDS = 30.0


@dataclass(slots=True)
class _Work:
    """Work that is in progress."""

    name: str
    #: reading of the clock
    started: float
    #: how far it is; empty: it has not said
    progress: str = ""

    def line(self, now: float) -> str:
        """What the log says of it at a reading of the clock."""
        minutes, seconds = divmod(round(now - self.started), 60)
        duration = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
        return f"{self.name} has run for {duration}{f': {self.progress}' if self.progress else ''}"


_current: ContextVar[_Work | None] = ContextVar("current work", default=None)


@contextmanager
def log_progress(
    name: str, *, interval: float | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[None]:
    """Log a line every interval, for as long as the block runs: what runs, for how long, and how far it is.

    The records have the attribute `still_running`, by which a terminal that shows a progress bar leaves them out.

    Args:
        name: what runs, such as "train of milk".
        interval: seconds between two lines; None: `INTERVAL_SECONDS`.
        clock: in seconds, from any start.
    """
    work, ended = _Work(name, clock()), Event()
    token = _current.set(work)

    def log_lines() -> None:
        while not ended.wait(INTERVAL_SECONDS if interval is None else interval):
            logger.info("%s", work.line(clock()), extra={"still_running": True})

    # in a copy of this context, by which Prefect knows the run that a record is about
    thread = Thread(target=copy_context().run, args=(log_lines,), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _current.reset(token)


def report_progress(progress: str) -> None:
    """Say how far the work is that runs in this context; nothing happens where none is logged."""
    work = _current.get()
    if work is not None:
        work.progress = progress
