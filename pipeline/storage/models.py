"""Trained models: stored with their files and decisions, and promoted to champion by compare-and-set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import Overtaken
from pipeline.records.lineage import Decision, Lineage, ModelVersion
from pipeline.records.training import NOT_PROMOTED, PROMOTED, SeriesComparison, SeriesErrors, TrainingRecord
from pipeline.storage.engine import Database
from pipeline.storage.leases import refuse_stale_token
from pipeline.storage.mapping import model_from_row
from pipeline.storage.statements import Transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class NewModel:
    """A trained model that is to be stored, and promoted if the gate allows it."""

    recipe: Recipe
    record: TrainingRecord
    model_hash: str
    #: the files of the model directory and the Keras archive, by name
    files: Mapping[str, bytes]
    lineage: Lineage
    #: the champion's version when the training began; the model is promoted only if it still is the champion
    expected_champion: int | None
    #: whether it may become the champion; a backfill's model never does
    publishes: bool
    #: of the recipe's lease when the training began
    fencing_token: int = 0

    @property
    def is_promoted(self) -> bool:
        """Whether the gate promoted it, or there was no gate."""
        return self.record.gate is None or self.record.gate.outcome == PROMOTED

    def decision(self, model_version: int) -> Decision:
        """The gate's decision about this model."""
        gate = self.record.gate
        return Decision(
            what="promotion",
            kind="live" if self.publishes else "backfill",
            outcome=PROMOTED if self.is_promoted else NOT_PROMOTED,
            reason=gate.reason if gate else self.record.reason,
            model_version=model_version,
            as_of=self.lineage.as_of,
            facts=gate.model_dump() if gate else {},
        )


@dataclass(frozen=True, slots=True)
class ModelRepository:
    """Models and decisions about them in one database."""

    database: Database

    def champion(self, recipe: str) -> ModelVersion | None:
        """The model that publishes; None before the first training."""
        return self._read("champion", recipe=recipe)

    def champion_as_of(self, recipe: str, as_of: datetime) -> ModelVersion | None:
        """The last promoted model that was trained on data up to an instant; None if there is none."""
        return self._read("champion_as_of", recipe=recipe, as_of=as_of)

    def newest(self, recipe: str, as_of: datetime, *, training: str | None = None) -> ModelVersion | None:
        """The last model that was trained on data up to an instant, promoted or not; of one kind of training or any."""
        return self._read("newest_model_as_of", recipe=recipe, as_of=as_of, training=training)

    def by_version(self, recipe: str, model_version: int) -> ModelVersion | None:
        """The model with this version; None if there is none."""
        return self._read("model", recipe=recipe, model_version=model_version)

    def _read(self, query: str, **parameters: Any) -> ModelVersion | None:
        with self.database.read() as transaction:
            row = transaction.row(query, **parameters)
        return None if row is None else model_from_row(row)

    def files(self, model: ModelVersion) -> dict[str, bytes]:
        """The files of the model directory and the Keras archive, by name."""
        with self.database.read() as transaction:
            rows = transaction.rows("model_files", recipe=model.recipe, model_version=model.model_version)
        return {row["name"]: bytes(row["content"]) for row in rows}

    def record_with_series(self, model: ModelVersion) -> TrainingRecord:
        """The training record with the backtest's comparison by series, which is as large as the panel and kept apart."""
        with self.database.read() as transaction:
            row = transaction.row("backtest_comparison", recipe=model.recipe, model_version=model.model_version)
        if row is None or model.record.backtest is None:
            return model.record
        comparison = SeriesComparison.model_validate_json(row["comparison"])
        backtest = model.record.backtest.model_copy(update={"by_series": comparison})
        return model.record.model_copy(update={"backtest": backtest})

    def add(self, model: NewModel, now: datetime) -> int:
        """Store a model, and make it the champion if it is promoted and may publish; its version.

        A model with the same hash as a stored one is not stored again and gets its version.

        Raises:
            Overtaken: another model became champion since the training began, or another worker holds the lease.
        """
        recipe = model.recipe.name
        with self.database.write() as transaction:
            locked = transaction.one("lock_recipe", recipe=recipe)
            refuse_stale_token(transaction, recipe, model.fencing_token, "this model was trained")
            version = _store_once(transaction, model, now)
            _insert_decision(transaction, recipe, model.decision(version), now)
            champion = locked["champion_version"]
            if not (model.is_promoted and model.publishes) or champion == version:
                return version
            if champion != model.expected_champion:
                raise Overtaken(
                    f"model {champion} became champion of {recipe} while model {version} was trained: run again"
                )
            _change_champion(transaction, recipe, version, fencing_token=locked["epoch"], now=now)
        return version

    def record_decision(self, recipe: str, decision: Decision, now: datetime) -> None:
        """Store a decision, unless it repeats the last one."""
        with self.database.write() as transaction:
            _insert_decision(transaction, recipe, decision, now)


def _store_once(transaction: Transaction, model: NewModel, now: datetime) -> int:
    """The version of the stored model with the same hash, or of this model, which is stored then."""
    recipe, record = model.recipe.name, model.record
    stored = transaction.row("model_by_hash", recipe=recipe, model_hash=model.model_hash)
    if stored is not None:
        return int(stored["model_version"])
    newest = transaction.row("newest_model_version", recipe=recipe)
    version = 1 + int(newest["model_version"] or 0) if newest else 1
    transaction.execute(
        "insert_model",
        recipe=recipe,
        model_version=version,
        model_hash=model.model_hash,
        training=record.training,
        reason=record.reason,
        cutoff=np.datetime64(record.cutoff, "us"),
        training_fingerprint=model.recipe.training_fingerprint,
        record=record.model_dump_json(exclude={"backtest": {"by_series", "errors_by_series"}}),
        skill=record.backtest.skill if record.backtest else None,
        trained_at=now,
        **asdict(model.lineage),
    )
    key = {"recipe": recipe, "model_version": version}
    files = [{**key, "name": name, "content": content} for name, content in model.files.items()]
    transaction.execute_many("insert_model_file", files)
    if record.backtest and record.backtest.errors_by_series:
        transaction.execute(
            "insert_backtest_errors",
            **key,
            baseline=record.resolve_baseline(model.recipe.gate.baseline),
            errors=_errors_to_json(record.backtest.errors_by_series),
        )
    if record.backtest and record.backtest.by_series:
        transaction.execute("insert_backtest_comparison", **key, comparison=record.backtest.by_series.model_dump_json())
    transaction.execute("insert_outbox", recipe=recipe, kind="training", reference=str(version), created_at=now)
    return version


def _errors_to_json(errors: SeriesErrors) -> str:
    """The errors as a JSON array of one object for each series."""
    columns = errors.model_dump(mode="json")
    return json.dumps([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)])


def _change_champion(transaction: Transaction, recipe: str, version: int, *, fencing_token: int, now: datetime) -> None:
    """Make a model the champion if nobody changed the champion since the token was read."""
    transaction.execute("change_champion", recipe=recipe, model_version=version, fencing_token=fencing_token)
    reference = f"{version} at epoch {fencing_token + 1}"
    transaction.execute("insert_outbox", recipe=recipe, kind="champion", reference=reference, created_at=now)


def _insert_decision(transaction: Transaction, recipe: str, decision: Decision, now: datetime) -> None:
    facts = json.dumps(dict(decision.facts), sort_keys=True)
    transaction.execute("insert_decision", recipe=recipe, decided_at=now, **asdict(decision) | {"facts": facts})
