"""Models, runs and decisions as the store keeps them, and the data, recipe and code they were made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import numpy as np

from pipeline.records.training import TrainingRecord

#: a live run is made when its data arrive; a backfill is made later, from the data as of then
RunKind = Literal["live", "backfill"]
RUN_KINDS: tuple[RunKind, ...] = get_args(RunKind)


def run_kind(as_of: datetime | None) -> RunKind:
    """The kind of a run from the current data (None), or from the data as of an instant."""
    return "live" if as_of is None else "backfill"


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """What a model or a run was made from."""

    as_of: datetime
    data_hash: str
    recipe_fingerprint: str
    code_version: str
    #: instant up to which observations had been recorded, of a backfill; None: `as_of`
    recorded_by: datetime | None = None


def training_key(lineage: Lineage, started_at: datetime) -> str:
    """Return the name of one training before it has a model; a second attempt has the same name."""
    parts = (
        lineage.recipe_fingerprint,
        lineage.data_hash,
        lineage.as_of.astimezone(UTC).isoformat(),
        started_at.astimezone(UTC).isoformat(),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelVersion:
    """A trained model in the store."""

    recipe: str
    model_version: int
    model_hash: str
    training: str
    reason: str
    cutoff: np.datetime64
    training_fingerprint: str
    lineage: Lineage
    skill: float | None
    trained_at: datetime
    mlflow_run_id: str | None
    record: TrainingRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A decision about a recipe's model, with its reason and the facts behind it."""

    #: "training" or "promotion"
    what: str
    kind: RunKind
    outcome: str
    reason: str
    model_version: int | None
    as_of: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One publication of a recipe at an origin."""

    run_id: str
    recipe: str
    kind: RunKind
    origin: np.datetime64
    status: str
    num_series: int
    num_rows: int
    #: None: no network could be trained yet, and baselines forecast every series
    model_version: int | None
    content_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LatestBatch:
    """The newest batch of a snapshot."""

    batch_id: int
    recorded_at: datetime
    source: str
    content_hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxEntry:
    """A change of the store that is still to be delivered to MLflow."""

    outbox_id: int
    recipe: str
    #: "training": log it; "champion": move the alias; "publication": log the run
    kind: str
    #: the model version, as in "3"; of a champion "3 at epoch 5", the fencing token; of a publication "3 as RUN_ID"
    reference: str
    #: why MLflow does not show it, if it was tried
    last_error: str | None = None

    @property
    def model_version(self) -> int:
        """The model version."""
        return int(self.reference.split()[0])

    @property
    def run_id(self) -> str:
        """The run of a publication."""
        return self.reference.split()[-1]
