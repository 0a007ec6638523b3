"""Training, now or at past origins, or replaying a tutorial, in a process of its own: it alone imports TensorFlow.

It has limits of time and memory. The parent writes a job folder and reads the model folder from it; progress comes
back as JSON lines. The child ends itself when its parent is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import ModelRefused, NotEnoughHistory, TrainingFailed
from pipeline.live import OnProgress
from pipeline.panel import Panel
from pipeline.panel_file import read_panel, write_panel
from pipeline.protocol import networks, refuse_unfit
from pipeline.recipe import Recipe
from pipeline.training_record import (
    FitRecord,
    FitsRecord,
    ProtocolRecord,
    ReplayedLine,
    ReplayRecord,
    TrainingRecord,
)

if TYPE_CHECKING:
    from pipeline.contest import Champion

logger = logging.getLogger(__name__)

_REFUSED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """What to train: the panel up to the cutoff, and how."""

    panel: Panel
    recipe: Recipe
    #: "retrain" or "fine-tune"
    training: str
    reason: str
    #: the files of the model that publishes: to beat, or to fine-tune
    champion: Mapping[str, bytes] | None = None
    #: what was recorded of them
    champion_hash: str = ""
    #: the tutorial's lines, if an earlier training has made them
    tutorial: tuple[ProtocolRecord, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingOutcome:
    """A model directory's files, the Keras archive of the same network, and the record of the training."""

    files: dict[str, bytes]
    keras_archive: bytes
    record: TrainingRecord


def run_training(job: TrainingJob, on_progress: OnProgress | None = None) -> TrainingOutcome:
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
        return TrainingOutcome(files=files, keras_archive=(folder / "network.keras").read_bytes(), record=record)


def run_replay(panel: Panel, recipe: Recipe) -> ReplayRecord:
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
        if status == _REFUSED:
            raise ModelRefused((folder / "refused.txt").read_text("utf-8"))
        if status != 0:
            raise TrainingFailed(f"{kind} of {recipe.name} {_how_it_ended(status)}: {_last_words(folder)}")
        yield folder


def _run_child(folder: Path, limit_seconds: float, on_progress: OnProgress | None) -> int:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    with (folder / "stderr.txt").open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
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


def _child(folder: Path) -> int:
    """What the child does: read the job, carry it out, write what it gave into the folder."""
    fields = json.loads((folder / "job.json").read_text("utf-8"))
    recipe = Recipe.model_validate(fields["recipe"])
    _limit_memory(recipe.training.memory_limit_gib)
    panels = [read_panel(folder / f"panel.{n}.npz", told) for n, told in enumerate(fields["panels"])]
    panel, kind = panels[0], fields["kind"]
    record: TrainingRecord | ReplayRecord | FitsRecord
    try:
        if recipe.tutorial is not None and kind != "fits" and not fields.get("tutorial"):
            refuse_unfit(panel.of(0), recipe.tutorial, panel.series[0])

        import tensorflow as tf

        from pipeline.trainer import parts_side_by_side

        parts_side_by_side()
        tf.config.experimental.enable_op_determinism()
        if kind == "fits":
            record = _fit_each(folder, panels, recipe)
        else:
            record = _train(folder, fields, panel, recipe) if kind == "training" else _replay(panel, recipe)
    except (ModelRefused, NotEnoughHistory) as refusal:
        (folder / "refused.txt").write_text(str(refusal), "utf-8")
        return _REFUSED
    (folder / "record.json").write_text(record.model_dump_json(), "utf-8")
    return 0


def _train(folder: Path, fields: dict[str, Any], panel: Panel, recipe: Recipe) -> TrainingRecord:
    """Fit, and write the model folder."""
    from pipeline import fitting, tutorial
    from pipeline.backtest_record import backtest_record

    began, reason = time.monotonic(), fields["reason"]
    champion, unusable = _champion(folder / "champion", fields["champion_hash"])
    if unusable and unusable not in reason:
        reason = f"{reason}; {unusable}"
    training = fields["training"] if champion else "retrain"
    trained = fitting.train(
        panel,
        recipe,
        champion=champion,
        unusable=unusable,
        fine_tune=training == "fine-tune",
        on_epoch=_printer("training"),
    )
    seconds = round(time.monotonic() - began, 1)
    lines = tuple(ProtocolRecord.model_validate(line) for line in fields["tutorial"])
    if not lines:
        replayed = tutorial.replay(panel.of(0), recipe, on_epoch=_printer("tutorial"))
        lines = tuple(ProtocolRecord(**dataclasses.asdict(line)) for line in replayed)
    _write_files(folder / "model", trained.files)
    (folder / "network.keras").write_bytes(trained.keras_archive)
    return TrainingRecord(
        training=training,
        reason=reason,
        loss=trained.loss,
        validation_loss=trained.validation_loss,
        epochs=trained.epochs,
        num_windows=trained.num_windows,
        num_series=len(panel.series),
        attention=trained.attention,
        designs=trained.designs,
        began=str(panel.grid[panel.first.min()]),
        num_observations=int(np.isfinite(panel.values).sum()),
        cutoff=str(panel.origin),
        backtest=backtest_record(trained.backtest, panel, recipe) if trained.backtest else None,
        tutorial=lines,
        tutorial_fingerprint=recipe.tutorial_fingerprint,
        gate=trained.gate,
        worse=trained.worse,
        seconds=seconds,
    )


def _champion(folder: Path, model_hash: str) -> tuple[Champion | None, str | None]:
    """The champion, or why what publishes cannot be used."""
    from pipeline.contest import read_champion

    if not folder.exists():
        return None, None
    try:
        return read_champion({path.name: path.read_bytes() for path in folder.iterdir()}, model_hash), None
    except ModelRefused as refusal:
        return None, f"the champion cannot be used: {refusal}"


def _fit_each(folder: Path, panels: Sequence[Panel], recipe: Recipe) -> FitsRecord:
    """Fit on each panel, and write a model folder each."""
    import keras

    from pipeline import fitting

    fits = []
    for n, panel in enumerate(panels):
        stage = f"origin {n + 1} of {len(panels)}"
        try:
            trained = fitting.train(panel, recipe, on_epoch=_printer(stage))
        except ModelRefused as refusal:
            raise ModelRefused(f"origin {str(panel.origin)[:16].removesuffix('T00:00')}: {refusal}") from refusal
        _write_files(folder / f"model.{n}", trained.files)
        fits.append(FitRecord(epochs=trained.epochs, num_windows=trained.num_windows, loss=trained.loss))
        del trained
        keras.backend.clear_session()  # what one origin leaves behind, the next need not carry
    return FitsRecord(fits=tuple(fits))


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _replay(panel: Panel, recipe: Recipe) -> ReplayRecord:
    """The tutorial's protocol with each of its networks."""
    from pipeline import tutorial

    assert recipe.tutorial is not None
    lines = []
    for network in networks(recipe.tutorial):
        named = network.model_dump(include={"row", "architecture", "layers", "published"})
        replayed = tutorial.replay(
            panel.of(0),
            recipe.model_copy(update={"tutorial": network}),
            on_epoch=_printer(f"{network.row} {network.architecture}"),
        )
        lines += [ReplayedLine(**named, **dataclasses.asdict(line)) for line in replayed]
    return ReplayRecord(lines=tuple(lines))


def _printer(stage: str) -> Any:
    def on_epoch(done: int, total: int, loss: float) -> None:
        print(json.dumps({"stage": stage, "done": done, "total": total, "loss": loss}), flush=True)

    return on_epoch


def _limit_memory(gib: float) -> None:
    import resource

    limit = int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(_child(Path(sys.argv[1])))
