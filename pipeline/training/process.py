"""Training, now or at past origins, or replaying a tutorial, in a process of its own: it alone imports TensorFlow.

It has limits of time and memory. The parent writes a job folder and reads the model folder from it; progress comes
back as JSON lines. The child ends itself when its parent is gone.
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
from typing import Any

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, TrainingFailed
from pipeline.records.training import FitRecord, FitsRecord, ReplayRecord, TrainingRecord
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import write_panel
from pipeline.training.job import TrainedModel, TrainingJob
from pipeline.training.progress import OnProgress

logger = logging.getLogger(__name__)

#: exit status of a worker whose training was refused; the reason is in its folder
REFUSED = 3
#: the module that the child runs
_WORKER = "pipeline.training.worker"


def run_training(job: TrainingJob, on_progress: OnProgress | None = None) -> TrainedModel:
    """Train in a fresh process and wait for it.

    Args:
        job: what to train.
        on_progress: told of each epoch as it ends; must not block.

    Raises:
        ModelRefused: the training did not stay finite, or the series does not fit its tutorial's protocol.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    fields = {
        "training": job.training,
        "reason": job.reason,
        "champion_hash": job.champion_hash,
        "tutorial": [line.model_dump(mode="json") for line in job.tutorial],
    }
    with _carried_out(
        "training", job.panel, job.recipe, fields, champion=job.champion, on_progress=on_progress
    ) as folder:
        files = {path.name: path.read_bytes() for path in sorted((folder / "model").iterdir())}
        record = TrainingRecord.model_validate_json((folder / "record.json").read_bytes())
        return TrainedModel(files=files, keras_archive=(folder / "network.keras").read_bytes(), record=record)


def run_tutorial(panel: Panel, recipe: Recipe) -> ReplayRecord:
    """Carry out a tutorial's protocol on the first series, with its own network and its variants, in a fresh process.

    Raises:
        ModelRefused: the series does not fit the protocol, or a fit did not stay finite.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    with _carried_out("replay", panel, recipe, {}) as folder:
        return ReplayRecord.model_validate_json((folder / "record.json").read_bytes())


def run_fits(panels: Sequence[Panel], recipe: Recipe) -> list[tuple[dict[str, bytes], FitRecord]]:
    """Fit anew on each panel, one after the other in one fresh process; each may take as long as a training.

    Returns:
        of each panel the model directory's files and what is known of the fit.

    Raises:
        ModelRefused: a fit did not stay finite, or had no window; the message names its last period.
        TrainingFailed: the process crashed, was killed, or ran past its limits.
    """
    first, *others = panels
    with _carried_out("fits", first, recipe, {}, others=others) as folder:
        fits = FitsRecord.model_validate_json((folder / "record.json").read_bytes()).fits
        return [
            ({path.name: path.read_bytes() for path in sorted((folder / f"model.{n}").iterdir())}, fit)
            for n, fit in enumerate(fits)
        ]


@contextlib.contextmanager
def _carried_out(
    kind: str,
    panel: Panel,
    recipe: Recipe,
    fields: dict[str, Any],
    *,
    champion: Mapping[str, bytes] | None = None,
    others: Sequence[Panel] = (),
    on_progress: OnProgress | None = None,
) -> Iterator[Path]:
    """The job folder, once the child has written into it what it was asked for."""
    with tempfile.TemporaryDirectory(prefix="nextperiod-training-") as name:
        folder = Path(name)
        if champion is not None:
            (folder / "champion").mkdir()
            for name, content in champion.items():
                (folder / "champion" / name).write_bytes(content)
        told = [write_panel(folder / f"panel.{n}.npz", each) for n, each in enumerate((panel, *others))]
        job = {"kind": kind, "recipe": recipe.model_dump(mode="json"), "panels": told, **fields}
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        status = _run_child(folder, len(told) * recipe.training.time_limit_minutes * 60, on_progress)
        if status == REFUSED:
            raise ModelRefused((folder / "refused.txt").read_text("utf-8"))
        if status != 0:
            raise TrainingFailed(f"{kind} of {recipe.name} {_how_it_ended(status)}: {_last_words(folder)}")
        yield folder


def _run_child(folder: Path, limit_seconds: float, on_progress: OnProgress | None) -> int:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    with (folder / "stderr.txt").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", _WORKER, str(folder)],
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
    with contextlib.suppress(json.JSONDecodeError):
        progress = json.loads(line)
        logger.debug("%(stage)s: epoch %(done)s of at most %(total)s", progress, extra={"progress": progress})
        if on_progress is not None:
            on_progress(progress)


def _how_it_ended(status: int) -> str:
    if status == -signal.SIGKILL:
        return "was killed (it ran past training.time_limit_minutes, or the machine is out of memory)"
    return f"ended with status {status}"


def _last_words(folder: Path) -> str:
    lines = (folder / "stderr.txt").read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
