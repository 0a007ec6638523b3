"""A training's epochs on their way to MLflow while it runs; MLflow can neither hold it up nor make it fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Protocol

from pipeline.text import without_secrets
from pipeline.training.progress import Progress

logger = logging.getLogger(__name__)


#: epochs are sent together about this often
_SECONDS_BETWEEN = 1.0
#: a training that has ended waits no longer than this for MLflow; so long may one request take
PATIENCE_SECONDS = 10.0


class EpochSink(Protocol):
    """Where one training is shown."""

    def begin(self) -> None:
        """Make the run, or find it if it was begun before."""

    def show(self, epochs: Sequence[tuple[int, Progress]]) -> None:
        """Add epochs, each with its number since the training began."""

    def end(self, reason: str | None) -> None:
        """The training is over; a reason says why it failed."""

    def withdraw(self) -> None:
        """Take back a run that came too late to be found."""


class ProgressStream:
    """Called with the progress of a training, hands it on in a thread of its own.

    Importing MLflow and making its run happen there too, beside the training.
    """

    def __init__(self, showing: EpochSink) -> None:
        self._showing = showing
        self._told: SimpleQueue[Progress | None] = SimpleQueue()
        self._reason: str | None = None
        self._left = Event()
        self._thread = Thread(target=self._carry, name="mlflow", daemon=True)
        self._thread.start()

    def __call__(self, progress: Progress) -> None:
        """Take note of an epoch; returns at once."""
        self._told.put(progress)

    def end(self, reason: str | None = None, *, patience: float = PATIENCE_SECONDS) -> None:
        """Let MLflow have the rest, and why the training failed if it did; waits `patience` seconds at most."""
        self._reason = reason
        self._told.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._left.set()
            logger.warning("MLflow did not answer within %g s; the training goes on without it", patience)

    def _carry(self) -> None:
        try:
            self._showing.begin()
            if not self._left.is_set():
                self._show_all()
            if self._left.is_set():
                self._showing.withdraw()
            else:
                self._showing.end(self._reason)
        except Exception as error:  # whatever MLflow does, the training counts
            told = without_secrets(str(error)).strip() or type(error).__name__
            logger.warning("%s; the epochs are shown when the training is", told.splitlines()[0])

    def _show_all(self) -> None:
        number, is_over = 0, False
        while not (is_over or self._left.is_set()):
            epochs, is_over = self._waiting()
            if epochs:
                self._showing.show(list(enumerate(epochs, start=number + 1)))
                number += len(epochs)

    def _waiting(self) -> tuple[list[Progress], bool]:
        """What came within the next second, and whether that was all; waits for the first."""
        epochs: list[Progress] = []
        until = time.monotonic() + _SECONDS_BETWEEN
        while True:
            try:
                progress = self._told.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                return epochs, False
            if progress is None:
                return epochs, True
            epochs.append(progress)
