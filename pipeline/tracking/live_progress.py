"""Stream a training's epochs to MLflow from a thread; MLflow's failures never affect the training."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from queue import Empty, SimpleQueue
from threading import Event, Thread

from pipeline.config.recipe import Recipe
from pipeline.records.lineage import Lineage, training_key
from pipeline.text import without_secrets
from pipeline.tracking.client import TrackingClient, milliseconds
from pipeline.tracking.run_fields import TRAINING_KEY, lineage_tags
from pipeline.training.progress import Progress

logger = logging.getLogger(__name__)

#: tag with the reason of a failed training
FAILURE = "nextperiod.failure"
#: MLflow's limit
_MAX_TAG_LENGTH = 5000
#: epochs are sent together about this often
_SECONDS_BETWEEN = 1.0
#: how long the end of a training waits for MLflow, which is as long as one request may take
PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveRun:
    """The MLflow run of a training that is in progress."""

    client: TrackingClient
    run_id: str

    def log_epochs(self, epochs: Sequence[tuple[int, Progress]]) -> None:
        """Add the loss of each epoch, numbered since the training began; losses that are not finite are left out."""
        from mlflow.entities import Metric

        now = milliseconds(self.client.clock())
        metrics = [
            Metric(f"live/{epoch['stage']}_loss", epoch["loss"], now, number)
            for number, epoch in epochs
            if math.isfinite(epoch["loss"])
        ]
        with self.client.reachable():
            self.client.mlflow.log_batch(self.run_id, metrics=metrics)

    def end(self, failure: str | None) -> None:
        """Mark the run as finished, or as failed for this reason."""
        with self.client.reachable():
            if failure is not None:
                self.client.mlflow.set_tag(self.run_id, FAILURE, failure[:_MAX_TAG_LENGTH])
            self.client.mlflow.set_terminated(self.run_id, "FINISHED" if failure is None else "FAILED")

    def delete(self) -> None:
        """Delete the run."""
        with self.client.reachable():
            self.client.mlflow.delete_run(self.run_id)


def open_live_run(
    client: TrackingClient, recipe: Recipe, lineage: Lineage, *, training: str, reason: str, started_at: datetime
) -> LiveRun:
    """Create the run of a training, or resume it if the same training was tried before.

    Args:
        client: where the run is.
        recipe: whose experiment the run belongs to.
        lineage: what is trained on.
        training: "retrain" or "fine-tune".
        reason: why it is trained.
        started_at: start of the training; identifies it together with the lineage.

    Raises:
        RegistryUnavailable: MLflow is unavailable.
    """
    key = {TRAINING_KEY: training_key(lineage, started_at)}
    with client.reachable():
        experiment = client.ensure_experiment(recipe.name)
        run = client.find_run(experiment, key)
        if run is None:
            tags = {**key, **lineage_tags(lineage, training, reason)}
            run = client.create_run(experiment, f"{recipe.name} in training", started_at, tags)
        else:
            client.mlflow.update_run(run.info.run_id, status="RUNNING")
            if FAILURE in run.data.tags:
                client.mlflow.delete_tag(run.info.run_id, FAILURE)
    return LiveRun(client=client, run_id=str(run.info.run_id))


class ProgressStream:
    """A progress callback that hands epochs to a thread, which imports MLflow, opens the run and logs to it."""

    def __init__(self, open_run: Callable[[], LiveRun]) -> None:
        """Start the thread.

        Args:
            open_run: opens the training's run; called in the thread.
        """
        self._open_run = open_run
        self._epochs: SimpleQueue[Progress | None] = SimpleQueue()  # None: the training has ended
        self._failure: str | None = None
        self._is_abandoned = Event()
        self._thread = Thread(target=self._log_training, name="mlflow", daemon=True)
        self._thread.start()

    def __call__(self, progress: Progress) -> None:
        """Queue an epoch; returns at once."""
        self._epochs.put(progress)

    def end(self, failure: str | None = None, *, patience: float = PATIENCE_SECONDS) -> None:
        """Log what is queued and end the run.

        Args:
            failure: why the training failed, if it did.
            patience: seconds to wait at most; after that the run is deleted whenever MLflow answers.
        """
        self._failure = failure
        self._epochs.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            self._is_abandoned.set()
            logger.warning("MLflow did not answer within %g s; the training continues without it", patience)

    def _log_training(self) -> None:
        try:
            run = self._open_run()
            self._log_epochs(run)
            if self._is_abandoned.is_set():
                run.delete()
            else:
                run.end(self._failure)
        except Exception as error:  # no failure of MLflow may reach the training
            cause = without_secrets(str(error)).strip() or type(error).__name__
            logger.warning("%s; the training's epochs will be logged after it ends", cause.splitlines()[0])

    def _log_epochs(self, run: LiveRun) -> None:
        num_logged, has_ended = 0, False
        while not (has_ended or self._is_abandoned.is_set()):
            epochs, has_ended = self._next_epochs()
            if epochs:
                run.log_epochs(list(enumerate(epochs, start=num_logged + 1)))
                num_logged += len(epochs)

    def _next_epochs(self) -> tuple[list[Progress], bool]:
        """The epochs of the next second, and whether the training has ended."""
        epochs: list[Progress] = []
        deadline = time.monotonic() + _SECONDS_BETWEEN
        while True:
            try:
                progress = self._epochs.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                return epochs, False
            if progress is None:
                return epochs, True
            epochs.append(progress)
