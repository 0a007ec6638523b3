"""What a training process is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.config.recipe import Recipe
from pipeline.records.training import ProtocolRecord, TrainingRecord
from pipeline.timeseries.panel import Panel


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
    keras_archive: bytes
    record: TrainingRecord
