"""A trained model as challenger: kept with its files and with what the gate said, and made the champion by compare-and-set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Overtaken
from pipeline.records.lineage import Decision, Lineage
from pipeline.records.training import NOT_PROMOTED, PROMOTED, TrainingRecord
from pipeline.storage.engine import Database
from pipeline.storage.leases import refuse_overtaken
from pipeline.storage.mapping import insert_decision
from pipeline.storage.statements import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class NewModel:
    """A trained model, where it comes from, and whose place it is to take."""

    recipe: Recipe
    record: TrainingRecord
    model_hash: str
    #: the model directory's and what goes with them, by name
    files: Mapping[str, bytes]
    lineage: Lineage
    #: the champion's version when the training was begun
    seen_champion: int | None
    #: a backfill's never does
    publishes: bool
    #: of the recipe's lease when the training was begun
    epoch: int = 0

    @property
    def is_promoted(self) -> bool:
        """Whether the gate let it through."""
        return self.record.gate is None or self.record.gate.outcome == PROMOTED

    def decided(self, version: int) -> Decision:
        """What the gate said."""
        gate = self.record.gate
        return Decision(
            what="promotion",
            kind="live" if self.publishes else "backfill",
            outcome=PROMOTED if self.is_promoted else NOT_PROMOTED,
            reason=gate.reason if gate else self.record.reason,
            model_version=version,
            as_of=self.lineage.as_of,
            facts=gate.model_dump() if gate else {},
        )


def add_model(challenger: NewModel, database: Database, now: datetime) -> int:
    """Keep a model and, if the gate let it through and it publishes, make it the champion; its version.

    The same model again is the version that it was.

    Raises:
        Overtaken: another champion was set since the training was begun, or the lease was taken over.
    """
    name = challenger.recipe.name
    with database.write() as transaction:
        locked = transaction.row("lock_recipe", recipe=name)
        assert locked is not None
        refuse_overtaken(transaction, name, challenger.epoch, "this model was trained")
        version, champion = _kept(transaction, challenger, now), locked["champion_version"]
        insert_decision(transaction, name, challenger.decided(version), now)
        if not (challenger.is_promoted and challenger.publishes) or champion == version:
            return version
        if champion != challenger.seen_champion:
            raise Overtaken(f"model {champion} became champion of {name} while model {version} was trained: run again")
        epoch = locked["epoch"]
        transaction.execute("change_champion", recipe=name, model_version=version, epoch=epoch)
        reference = f"{version} at epoch {epoch + 1}"
        transaction.execute("insert_outbox", recipe=name, kind="champion", reference=reference, created_at=now)
    return version


def _kept(transaction: Transaction, challenger: NewModel, now: datetime) -> int:
    """The version of this model, which is written unless it is known."""
    name, record = challenger.recipe.name, challenger.record
    known = transaction.row("model_by_hash", recipe=name, model_hash=challenger.model_hash)
    if known is not None:
        return int(known["model_version"])
    newest = transaction.row("newest_model_version", recipe=name)
    version = 1 + int(newest["model_version"] or 0) if newest else 1
    transaction.execute(
        "insert_model",
        recipe=name,
        model_version=version,
        model_hash=challenger.model_hash,
        training=record.training,
        reason=record.reason,
        cutoff=np.datetime64(record.cutoff, "us"),
        training_fingerprint=challenger.recipe.training_fingerprint,
        record=record.model_dump_json(),
        skill=record.backtest.skill if record.backtest else None,
        trained_at=now,
        **asdict(challenger.lineage),
    )
    files = [{"name": file, "content": content} for file, content in challenger.files.items()]
    transaction.execute_many("insert_model_file", [{"recipe": name, "model_version": version, **f} for f in files])
    transaction.execute("insert_outbox", recipe=name, kind="training", reference=str(version), created_at=now)
    return version
