"""What runs in the training process: read the job, carry it out, write what it gave."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import ModelRefused, NotEnoughHistory
from pipeline.records.training import FitRecord, FitsRecord, ProtocolRecord, ReplayedLine, ReplayRecord, TrainingRecord
from pipeline.timeseries.panel import Panel
from pipeline.timeseries.panel_file import read_panel
from pipeline.training.process import REFUSED
from pipeline.training.tutorial_protocol import list_networks, require_tutorial_history

if TYPE_CHECKING:
    from pipeline.training.champion import Champion


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
            require_tutorial_history(panel.series_values(0), recipe.tutorial, panel.series[0])

        import tensorflow as tf

        from pipeline.training.epoch_loop import configure_threads

        configure_threads()
        tf.config.experimental.enable_op_determinism()
        if kind == "fits":
            record = _fit_each(folder, panels, recipe)
        else:
            record = _train(folder, fields, panel, recipe) if kind == "training" else _replay(panel, recipe)
    except (ModelRefused, NotEnoughHistory) as refusal:
        (folder / "refused.txt").write_text(str(refusal), "utf-8")
        return REFUSED
    (folder / "record.json").write_text(record.model_dump_json(), "utf-8")
    return 0


def _train(folder: Path, fields: dict[str, Any], panel: Panel, recipe: Recipe) -> TrainingRecord:
    """Fit, and write the model folder."""
    from pipeline.evaluation.holdout_record import backtest_record
    from pipeline.training import train, tutorial

    began, reason = time.monotonic(), fields["reason"]
    champion, unusable = _champion(folder / "champion", fields["champion_hash"])
    if unusable and unusable not in reason:
        reason = f"{reason}; {unusable}"
    training = fields["training"] if champion else "retrain"
    trained = train.train(
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
        replayed = tutorial.run_protocol(panel.series_values(0), recipe, on_epoch=_printer("tutorial"))
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
    from pipeline.training.champion import read_champion

    if not folder.exists():
        return None, None
    try:
        return read_champion({path.name: path.read_bytes() for path in folder.iterdir()}, model_hash), None
    except ModelRefused as refusal:
        return None, f"the champion cannot be used: {refusal}"


def _fit_each(folder: Path, panels: Sequence[Panel], recipe: Recipe) -> FitsRecord:
    """Fit on each panel, and write a model folder each."""
    import keras

    from pipeline.training import train

    fits = []
    for n, panel in enumerate(panels):
        stage = f"origin {n + 1} of {len(panels)}"
        try:
            trained = train.train(panel, recipe, on_epoch=_printer(stage))
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
    from pipeline.training import tutorial

    assert recipe.tutorial is not None
    lines = []
    for network in list_networks(recipe.tutorial):
        named = network.model_dump(include={"row", "architecture", "layers", "published"})
        replayed = tutorial.run_protocol(
            panel.series_values(0),
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
