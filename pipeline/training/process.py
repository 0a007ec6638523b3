"""Run a training, fits at past origins or a tutorial's protocol in a child process, the only one that imports TensorFlow.

The child has limits of time and memory. Files go through a job folder, progress comes back as JSON lines on its
standard output. The child ends itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, TrainingFailed
from pipeline.progress_log import report_progress
from pipeline.records.training import FitRecord, TrainingRecord, TutorialRecord
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import write_panel
from pipeline.training.process_files import (
    REFUSED,
    JobFile,
    JobFolder,
    TrainedModel,
    TrainingJob,
    read_files,
    write_files,
)
from pipeline.training.progress import OnProgress, Progress, describe_epoch

logger = logging.getLogger(__name__)

#: the module that the child runs
_WORKER = f"{__package__}.worker"


def run_training(job: TrainingJob, on_progress: OnProgress | None = None) -> TrainedModel:
    """Train in a fresh process and wait for it.

    Args:
        job: what to train.
        on_progress: called after each epoch; must not block.

    Raises:
        ModelRefused: the training did not stay finite, or the series does not fit its tutorial's protocol.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    with _job_folder([job.panel], job.champion) as (folder, panels):
        request = JobFile(
            kind="training",
            recipe=job.recipe,
            panels=panels,
            training=job.training,
            reason=job.reason,
            champion_hash=job.champion_hash,
            tutorial=job.tutorial,
        )
        _run(folder, request, on_progress)
        return TrainedModel(
            files=read_files(folder.model()),
            keras_archive=folder.keras_archive.read_bytes(),
            record=TrainingRecord.model_validate_json(folder.record().read_bytes()),
        )


def run_tutorial(panel: Panel, recipe: Recipe) -> TutorialRecord:
    """Run a tutorial's protocol on the first series, with its own network and its variants, in a fresh process.

    Raises:
        ModelRefused: the series does not fit the protocol, or a fit did not stay finite.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    with _job_folder([panel]) as (folder, panels):
        _run(folder, JobFile(kind="tutorial", recipe=recipe, panels=panels))
        return TutorialRecord.model_validate_json(folder.record().read_bytes())


def run_fits(panels: Sequence[Panel], recipe: Recipe) -> list[tuple[dict[str, bytes], FitRecord]]:
    """Train from scratch on each panel, one after the other in one fresh process.

    The time limit is that of a training for each panel.

    Returns:
        for each panel the files of its model directory and the record of its fit.

    Raises:
        ModelRefused: a fit did not stay finite, or had no window; the message names its last period.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    with _job_folder(panels) as (folder, texts):
        _run(folder, JobFile(kind="fits", recipe=recipe, panels=texts))
        return [
            (read_files(folder.model(n)), FitRecord.model_validate_json(folder.record(n).read_bytes()))
            for n in range(len(panels))
        ]


@contextlib.contextmanager
def _job_folder(
    panels: Sequence[Panel], champion: Mapping[str, bytes] | None = None
) -> Iterator[tuple[JobFolder, tuple[dict[str, object], ...]]]:
    """A temporary folder with the panels and the current model, and the panels' text parts for the job file."""
    with tempfile.TemporaryDirectory(prefix="nextperiod-training-") as name:
        folder = JobFolder(Path(name))
        if champion is not None:
            write_files(folder.champion, champion)
        yield folder, tuple(write_panel(folder.panel(n), panel) for n, panel in enumerate(panels))


def _run(folder: JobFolder, request: JobFile, on_progress: OnProgress | None = None) -> None:
    """Write the job, run the child on it and wait until it has written its results."""
    recipe = request.recipe
    folder.job.write_text(request.model_dump_json(), "utf-8")
    limit_seconds = len(request.panels) * recipe.training.time_limit_minutes * 60
    status = _run_child(folder, limit_seconds, on_progress)
    if status == REFUSED:
        raise ModelRefused(folder.refusal.read_text("utf-8"))
    if status != 0:
        raise TrainingFailed(f"{request.kind} of {recipe.name} {_describe_end(status)}: {_last_words(folder.stderr)}")


def _run_child(folder: JobFolder, limit_seconds: float, on_progress: OnProgress | None) -> int:
    """Run the worker on a job folder; return its exit status, which is negative after a signal."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    with folder.stderr.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,
            text=True,
        )
        with child:
            timer = threading.Timer(limit_seconds, _kill, [child])
            timer.start()
            try:
                assert child.stdout is not None
                for line in child.stdout:
                    _report(line, on_progress)
                return child.wait()
            finally:
                timer.cancel()
                _kill(child)


def _kill(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)


def _report(line: str, on_progress: OnProgress | None) -> None:
    """Pass one epoch on: to the callback, the log, and the progress bar of the command line, which reads log records."""
    with contextlib.suppress(json.JSONDecodeError):  # whatever else the child prints
        progress: Progress = json.loads(line)
        logger.debug("%(stage)s: epoch %(done)s of at most %(total)s", progress, extra={"progress": progress})
        report_progress(f"{progress['stage']}: {describe_epoch(progress)}")
        if on_progress is not None:
            on_progress(progress)


def _describe_end(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed (it ran past training.time_limit_minutes, or the machine is out of memory)"
    return f"ended with status {status}"


def _last_words(stderr: Path) -> str:
    lines = stderr.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it wrote no message"
