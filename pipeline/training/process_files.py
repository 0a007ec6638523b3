"""What a training process is given and what it gives back: values, and the files by which both ends exchange them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.config.recipe import Recipe
from pipeline.records.training import ProtocolRecord, TrainingRecord
from pipeline.timeseries.panel import Panel

#: exit status of a child that refused the job; the reason is in the job folder
REFUSED: Final = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """What to train: the panel up to the cutoff, and how."""

    panel: Panel
    recipe: Recipe
    #: "retrain" or "fine-tune"
    training: str
    reason: str
    #: files of the current model: the champion to beat, or to fine-tune; None: the recipe has no model yet
    champion: Mapping[str, bytes] | None = None
    #: model hash that was recorded for these files
    champion_hash: str = ""
    #: the tutorial's figures, if an earlier training has computed them
    tutorial: tuple[ProtocolRecord, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model directory's files, the Keras archive of the same network, and the record of the training."""

    files: dict[str, bytes]
    #: None: the network is published as it ships, and Keras never saw it
    keras_archive: bytes | None
    record: TrainingRecord


class JobFile(BaseModel):
    """The content of job.json: what the parent asks of the child."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: "training": one model with its gate; "fits": a model on each panel; "tutorial": the tutorial's protocol
    kind: Literal["training", "fits", "tutorial"]
    recipe: Recipe
    #: the text parts of each panel, as `write_panel` returned them
    panels: tuple[dict[str, Any], ...]
    training: str = ""
    reason: str = ""
    champion_hash: str = ""
    tutorial: tuple[ProtocolRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Where the files of a job lie."""

    path: Path

    @property
    def job(self) -> Path:
        """The job, written by the parent."""
        return self.path / "job.json"

    def panel(self, number: int) -> Path:
        """The arrays of a panel, written by the parent."""
        return self.path / f"panel.{number}.npz"

    @property
    def champion(self) -> Path:
        """Folder of the current model's files, written by the parent; missing without such a model."""
        return self.path / "champion"

    def model(self, number: int = 0) -> Path:
        """Folder of a trained model's files, written by the child."""
        return self.path / f"model.{number}"

    @property
    def keras_archive(self) -> Path:
        """The network of a training, written by the child."""
        return self.path / "network.keras"

    def record(self, number: int = 0) -> Path:
        """The record of a training, a fit or a tutorial, written by the child."""
        return self.path / f"record.{number}.json"

    @property
    def refusal(self) -> Path:
        """Why the job was refused, written by a child that ends with status `REFUSED`."""
        return self.path / "refused.txt"

    @property
    def stderr(self) -> Path:
        """What the child wrote to its standard error."""
        return self.path / "stderr.txt"


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Create a folder with the given files."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def read_files(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder, by name in ascending order."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
