"""The outbox: what was written to the store and still has to be shown in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.records.lineage import OutboxEntry
from pipeline.storage.engine import Database


@dataclass(frozen=True, slots=True)
class OutboxRepository:
    """Outbox entries in one database."""

    database: Database

    def pending(self, recipe: str | None = None) -> list[OutboxEntry]:
        """Entries that MLflow does not show yet, oldest first; of one recipe or of all."""
        with self.database.read() as transaction:
            rows = transaction.rows("pending_outbox", recipe=recipe)
        return [OutboxEntry(**{name: row[name] for name in OutboxEntry.__dataclass_fields__}) for row in rows]

    def mark_done(self, entry: OutboxEntry, now: datetime, *, mlflow_run_id: str | None = None) -> None:
        """Record that MLflow shows the entry; for a training also under which MLflow run."""
        with self.database.write() as transaction:
            if mlflow_run_id is not None:
                transaction.execute(
                    "set_mlflow_run",
                    recipe=entry.recipe,
                    model_version=entry.model_version,
                    mlflow_run_id=mlflow_run_id,
                )
            transaction.execute("mark_outbox_done", outbox_id=entry.outbox_id, done_at=now)

    def skipped(self) -> list[OutboxEntry]:
        """Entries that MLflow refuses, oldest first; they are not sent again."""
        with self.database.read() as transaction:
            rows = transaction.rows("skipped_outbox")
        return [OutboxEntry(**{name: row[name] for name in OutboxEntry.__dataclass_fields__}) for row in rows]

    def mark_skipped(self, entry: OutboxEntry, reason: str, now: datetime) -> None:
        """Record why MLflow will not show the entry; it is not sent again."""
        with self.database.write() as transaction:
            transaction.execute("mark_outbox_skipped", outbox_id=entry.outbox_id, last_error=reason, done_at=now)

    def mark_failed(self, entry: OutboxEntry, error: str) -> None:
        """Record why MLflow does not show the entry; it stays pending."""
        with self.database.write() as transaction:
            transaction.execute("mark_outbox_failed", outbox_id=entry.outbox_id, last_error=error)
