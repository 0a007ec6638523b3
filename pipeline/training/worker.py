"""What runs in the training process: read the job, run it, write the results into the job folder."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, NotEnoughHistory
from pipeline.records.training import TutorialLine, TutorialRecord
from pipeline.text import format_period
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import read_panel
from pipeline.training.process_files import REFUSED, JobFile, JobFolder, read_files, write_files
from pipeline.training.progress import OnEpoch, Progress
from pipeline.training.tutorial_protocol import list_networks, require_tutorial_history

if TYPE_CHECKING:
    from pipeline.training.champion import Champion, UnusableChampion

#: libraries that Keras imports where they are installed, for tools that are not used here: a second of every training
_UNUSED_BY_KERAS = ("matplotlib", "sklearn")


def run_job(folder: JobFolder) -> int:
    """Run the job in a folder; return the exit status of the process."""
    job = JobFile.model_validate_json(folder.job.read_bytes())
    _limit_memory(job.recipe.training.memory_limit_gib)
    panels = [read_panel(folder.panel(n), text) for n, text in enumerate(job.panels)]
    try:
        if job.recipe.tutorial is not None and job.kind != "fits" and not job.tutorial:
            require_tutorial_history(panels[0].series_values(0), job.recipe.tutorial, panels[0].series[0])
        _start_tensorflow()
        if job.kind == "fits":
            _run_fits(folder, panels, job.recipe)
        elif job.kind == "tutorial":
            _run_tutorial(folder, panels[0], job.recipe)
        else:
            _run_training(folder, job, panels[0])
    except (ModelRefused, NotEnoughHistory) as refusal:
        folder.refusal.write_text(str(refusal), "utf-8")
        return REFUSED
    return 0


def _start_tensorflow() -> None:
    with _without(*_UNUSED_BY_KERAS):
        import tensorflow as tf

    from pipeline.training.gradient_steps import configure_threads

    configure_threads()
    tf.config.experimental.enable_op_determinism()


@contextmanager
def _without(*modules: str) -> Iterator[None]:
    """Let optional imports of some modules fail, as if they were not installed."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


def _run_training(folder: JobFolder, job: JobFile, panel: Panel) -> None:
    from pipeline.training.train import train
    from pipeline.training.tutorial import run_protocol

    started = time.monotonic()
    trained = train(
        panel,
        job.recipe,
        champion=_read_champion(folder, job.champion_hash),
        fine_tune=job.training == "fine-tune",
        reason=job.reason,
        on_epoch=_progress_printer("training"),
    )
    seconds = round(time.monotonic() - started, 1)
    tutorial = job.tutorial or run_protocol(panel.series_values(0), job.recipe, on_epoch=_progress_printer("tutorial"))
    record = trained.record.model_copy(update={"tutorial": tutorial, "seconds": seconds})
    write_files(folder.model(), trained.files)
    assert trained.keras_archive is not None
    folder.keras_archive.write_bytes(trained.keras_archive)
    folder.record().write_text(record.model_dump_json(), "utf-8")


def _read_champion(folder: JobFolder, model_hash: str) -> Champion | UnusableChampion | None:
    from pipeline.training.champion import UnusableChampion, read_champion

    if not folder.champion.exists():
        return None
    try:
        return read_champion(read_files(folder.champion), model_hash)
    except ModelRefused as refusal:
        return UnusableChampion(reason=f"the champion cannot be used: {refusal}")


def _run_fits(folder: JobFolder, panels: Sequence[Panel], recipe: Recipe) -> None:
    import keras

    from pipeline.training.train import train_without_gate

    for n, panel in enumerate(panels):
        try:
            files, record = train_without_gate(panel, recipe, _progress_printer(f"origin {n + 1} of {len(panels)}"))
        except ModelRefused as refusal:
            raise ModelRefused(f"origin {format_period(panel.origin)}: {refusal}") from refusal
        write_files(folder.model(n), files)
        folder.record(n).write_text(record.model_dump_json(), "utf-8")
        keras.backend.clear_session()  # frees what Keras keeps of this origin's networks


def _run_tutorial(folder: JobFolder, panel: Panel, recipe: Recipe) -> None:
    """Run the tutorial's protocol with its own network and with each of its variants."""
    from pipeline.training.tutorial import run_protocol

    assert recipe.tutorial is not None
    lines = []
    for network in list_networks(recipe.tutorial):
        fields = network.model_dump(include={"row", "architecture", "layers", "published"})
        own_recipe = recipe.model_copy(update={"tutorial": network})
        stage = f"{network.row} {network.architecture}"
        for line in run_protocol(panel.series_values(0), own_recipe, on_epoch=_progress_printer(stage)):
            lines.append(TutorialLine(**fields, **line.model_dump()))
    folder.record().write_text(TutorialRecord(lines=tuple(lines)).model_dump_json(), "utf-8")


def _progress_printer(stage: str) -> OnEpoch:
    """Return a callback that prints each epoch as one JSON line, which the parent reads."""

    def print_progress(done: int, total: int, loss: float) -> None:
        progress: Progress = {"stage": stage, "done": done, "total": total, "loss": loss}
        sys.stdout.write(json.dumps(progress) + "\n")  # one write: members that are fitted at once report in turn
        sys.stdout.flush()

    return print_progress


def _limit_memory(gib: float) -> None:
    import resource

    limit = int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with_parent() -> None:
    """End this process when its standard input is closed, as it is when the parent ends."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    status = run_job(JobFolder(Path(sys.argv[1])))
    sys.stdout.flush()
    os._exit(status)  # all is written: what TensorFlow tidies up takes another second
