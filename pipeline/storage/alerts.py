"""Alerts about recipes that were sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.storage.engine import Database
from pipeline.storage.statements import Row

#: records the recipe, kind and reason of an alert, its state and when it is sent; whether nobody else has sent it
ClaimAlert = Callable[..., bool]


@dataclass(frozen=True, slots=True)
class AlertRepository:
    """Alerts in one database; each is a row that stays."""

    database: Database

    def open(self) -> Sequence[Row]:
        """The recipe, kind and reason of what was raised and has not recovered, as far as it was sent."""
        with self.database.read() as transaction:
            return transaction.rows("open_alerts")

    @contextmanager
    def sending(self) -> Iterator[ClaimAlert]:
        """Begin to send alerts: no other process sends any until the block ends. An error in it undoes what it recorded.

        SQLite has one writer: there every other writer waits, as long as the webhook takes to answer.

        Yields:
            a function that records an alert, and returns whether it is this process that has to send it.
        """
        with self.database.write() as transaction:
            if transaction.dialect == "postgresql":
                transaction.row("lock_alerts")

            def claim(
                recipe: str, kind: str, reason: str, *, state: Literal["raised", "recovered"], sent_at: datetime
            ) -> bool:
                values = {"recipe": recipe, "kind": kind, "state": state, "reason": reason, "sent_at": sent_at}
                return transaction.execute("insert_alert", **values) == 1

            yield claim
