"""Alerts about recipes that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.storage.engine import Database
from pipeline.storage.statements import Row


@dataclass(frozen=True, slots=True)
class AlertRepository:
    """Alerts in one database; each is a row that stays."""

    database: Database

    def open(self) -> Sequence[Row]:
        """The recipe, kind and reason of what was raised and has not recovered, as far as it was sent."""
        with self.database.read() as transaction:
            return transaction.rows("open_alerts")

    def add(
        self, recipe: str, kind: str, reason: str, *, state: Literal["raised", "recovered"], sent_at: datetime
    ) -> None:
        """Record that an alert was sent."""
        with self.database.write() as transaction:
            transaction.execute("insert_alert", recipe=recipe, kind=kind, state=state, reason=reason, sent_at=sent_at)
