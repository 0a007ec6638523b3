"""The lineage of a run: its data and their later changes, its recipe, its code and its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.evaluation.retraining_policy import TrainingChoice
from pipeline.records.lineage import Lineage, ModelVersion, Run
from pipeline.storage.engine import Database
from pipeline.storage.mapping import lineage_from_row, model_from_row, run_from_row
from pipeline.storage.statements import Row


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBatch:
    """The newest batch that a run was made from."""

    source: str
    content_hash: str
    recorded_at: datetime
    num_new: int
    num_revised: int
    num_same: int
    num_rejected: int
    #: when it was put on hold before a person approved it; None: it was not held
    held_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesSince:
    """How the data changed after a run."""

    num_batches: int
    num_new: int
    #: values that the run was made from and that were revised later
    num_revised: int
    #: series with such values
    num_series: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A method, and how many series of a run were forecast by it."""

    method: str
    reason: str | None
    num_series: int
    #: the model forecast so many of the first steps; a fallback makes the later ones
    network_steps: int = 0

    def __str__(self) -> str:
        since = f" from step {self.network_steps + 1} on" if self.network_steps else ""
        return f"{self.num_series} by {self.method}{since}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLineage:
    """Everything that a run was made from."""

    run: Run
    lineage: Lineage
    published_at: datetime | None
    superseded_by: str | None
    supersedes: tuple[str, ...]
    methods: tuple[Method, ...]
    source_batch: SourceBatch
    #: observed values that existed when the run was made
    num_known: int
    since: ChangesSince
    #: the current fingerprint of the recipe
    present_fingerprint: str
    #: None: no network could be trained yet
    model: ModelVersion | None
    is_champion: bool
    decision: TrainingChoice
    #: why MLflow does not show the training, the alias or the run: "training: REASON"
    not_in_mlflow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineageRepository:
    """Lineages of runs in one database."""

    database: Database

    def run_lineage(self, run_id: str) -> RunLineage | None:
        """Everything that a run was made from; None if there is no such run."""
        with self.database.read() as transaction:
            run = transaction.row("run_with_recipe", run_id=run_id)
            if run is None:
                return None
            stored_model = transaction.row("model", recipe=run["recipe"], model_version=run["model_version"])
            source_batch = transaction.one(
                "source_batch_as_of", recipe=run["recipe"], kind=run["kind"], as_of=run["as_of"]
            )
            batch = {"recipe": run["recipe"], "batch_id": source_batch["batch_id"]}
            batches = transaction.one("batches_around", **batch)
            revised = transaction.one("revisions_after_batch", **batch)
            superseded = transaction.rows("runs_superseded_by", run_id=run_id)
            methods = transaction.rows("methods_of_run", run_number=run["run_number"])
            version = str(run["model_version"])
            troubled = transaction.rows("troubled_outbox", recipe=run["recipe"], model=version, run_id=run_id)
        model = model_from_row(stored_model) if stored_model else None
        return RunLineage(
            run=run_from_row(run),
            lineage=lineage_from_row(run),
            published_at=run["published_at"],
            superseded_by=run["superseded_by"],
            supersedes=tuple(row["run_id"] for row in superseded),
            methods=tuple(Method(**row) for row in methods),
            source_batch=SourceBatch(**{name: source_batch[name] for name in SourceBatch.__dataclass_fields__}),
            num_known=int(batches["num_known"]),
            since=ChangesSince(num_batches=int(batches["num_batches"]), num_new=int(batches["num_new"]), **revised),
            present_fingerprint=run["present_fingerprint"],
            model=model,
            is_champion=model is not None and run["champion_version"] == model.model_version,
            decision=_training_choice(run, model) if model else _no_training(methods),
            not_in_mlflow=tuple(f"{row['kind']}: {row['last_error']}" for row in troubled),
        )

    def methods_with_reason(self, run_id: str) -> tuple[Method, ...]:
        """How series of a run were forecast for which there is a reason to say why; the most frequent first."""
        with self.database.read() as transaction:
            run = transaction.one("run", run_id=run_id)
            methods = transaction.rows("methods_of_run", run_number=run["run_number"])
        return tuple(Method(**row) for row in methods if row["reason"] is not None)


def _no_training(methods: Sequence[Row]) -> TrainingChoice:
    """Why no model was trained: the reason of every series of the run."""
    return TrainingChoice(training="keep", reason=next((row["reason"] for row in methods if row["reason"]), ""))


def _training_choice(run: Row, model: ModelVersion) -> TrainingChoice:
    """Whether the model was trained for this run, or an earlier one was kept, and why."""
    if (model.lineage.as_of, model.lineage.recipe_fingerprint) == (run["as_of"], run["recipe_fingerprint"]):
        return TrainingChoice(training=model.training, reason=model.reason)
    if model.cutoff == run["origin"]:
        return TrainingChoice(training="keep", reason="no new period since the training")
    return TrainingChoice(training="keep", reason=f"trained up to {str(model.cutoff)[:16].removesuffix('T00:00')}")
