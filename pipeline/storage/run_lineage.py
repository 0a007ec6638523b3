"""From a run to what it came from: its data and what became of them since, its recipe, its code and its model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.evaluation.retraining_policy import TrainingChoice
from pipeline.records.lineage import Lineage, ModelVersion, Run
from pipeline.storage.engine import Database
from pipeline.storage.mapping import model_of, run_of
from pipeline.storage.statements import Row, Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBatch:
    """The newest batch that was known when a run was made."""

    source: str
    content_hash: str
    recorded_at: datetime
    num_new: int
    num_revised: int
    num_same: int
    num_rejected: int
    #: when a person was asked to look at it first; None: nobody was
    held_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangesSince:
    """What became of the data after a run."""

    num_batches: int
    num_new: int
    #: values that were known then and are told anew
    num_revised: int
    #: of so many series
    num_series: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """How some series of a run were forecast."""

    method: str
    reason: str | None
    num_series: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLineage:
    """All that a run came from."""

    run: Run
    lineage: Lineage
    published_at: datetime | None
    superseded_by: str | None
    supersedes: tuple[str, ...]
    methods: tuple[Method, ...]
    vintage: SourceBatch
    #: values that were known then
    num_known: int
    since: ChangesSince
    #: the recipe's fingerprint as it was seen last
    present_fingerprint: str
    model: ModelVersion
    is_champion: bool
    decision: TrainingChoice


def read_run_lineage(database: Database, run_id: str) -> RunLineage | None:
    """What a run came from; None if there is no such run."""
    with database.read() as transaction:
        row = transaction.row("explain_run", run_id=run_id)
        if row is None:
            return None
        found = _one(transaction, "model", recipe=row["recipe"], model_version=row["model_version"])
        vintage = _one(transaction, "explain_vintage", recipe=row["recipe"], as_of=row["as_of"])
        about = {"recipe": row["recipe"], "batch_id": vintage["batch_id"]}
        batches = _one(transaction, "explain_batches", **about)
        revised = _one(transaction, "explain_revised", **about)
        superseded = transaction.rows("explain_superseded", run_id=run_id)
        methods = transaction.rows("explain_methods", run_number=row["run_number"])
    model = model_of(found)
    return RunLineage(
        run=run_of(row),
        lineage=Lineage(**{name: row[name] for name in Lineage.__dataclass_fields__}),
        published_at=row["published_at"],
        superseded_by=row["superseded_by"],
        supersedes=tuple(one["run_id"] for one in superseded),
        methods=tuple(Method(**one) for one in methods),
        vintage=SourceBatch(**{name: vintage[name] for name in SourceBatch.__dataclass_fields__}),
        num_known=int(batches["num_known"]),
        since=ChangesSince(num_batches=int(batches["num_batches"]), num_new=int(batches["num_new"]), **revised),
        present_fingerprint=row["present_fingerprint"],
        model=model,
        is_champion=row["champion_version"] == model.model_version,
        decision=_decision(row, model),
    )


def is_run(database: Database, run_id: str) -> bool:
    """Whether there is a run of that name."""
    with database.read() as transaction:
        return transaction.row("run", run_id=run_id) is not None


def latest_run(database: Database, recipe: str) -> str | None:
    """The run that consumers of a recipe see; None before the first."""
    with database.read() as transaction:
        row = transaction.row("explain_latest_run", recipe=recipe)
    return row["run_id"] if row else None


def newest_runs(database: Database, recipe: str | None = None) -> list[str]:
    """The runs that were published last, the newest first."""
    with database.read() as transaction:
        return [row["run_id"] for row in transaction.rows("explain_newest_runs", recipe=recipe)]


def known_since(database: Database, recipe: str) -> datetime | None:
    """When the first observations were recorded; None before that."""
    with database.read() as transaction:
        row = transaction.row("explain_first_batch", recipe=recipe)
    return row["recorded_at"] if row else None


def _one(transaction: Transaction, query: str, **parameters: Any) -> Row:
    row = transaction.row(query, **parameters)
    assert row is not None
    return row


def _decision(run: Row, model: ModelVersion) -> TrainingChoice:
    """What was done about the model before this run: it was made for it, or an earlier one was kept."""
    if (model.lineage.as_of, model.lineage.recipe_fingerprint) == (run["as_of"], run["recipe_fingerprint"]):
        return TrainingChoice(training=model.training, reason=model.reason)
    if model.cutoff == run["origin"]:
        return TrainingChoice(training="keep", reason="no new period since the training")
    return TrainingChoice(training="keep", reason=f"trained up to {str(model.cutoff)[:16].removesuffix('T00:00')}")
