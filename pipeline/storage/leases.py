"""Training leases with fencing tokens, on the database's clock: a worker that lost its lease cannot write."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from pipeline.errors import Busy, Overtaken
from pipeline.storage.engine import Database
from pipeline.storage.statements import Row, Transaction


@dataclass(frozen=True, slots=True)
class LeaseRepository:
    """Leases in one database."""

    database: Database

    def fencing_token(self, recipe: str) -> int:
        """The recipe's current fencing token, which grows with every new lease; 0 before the first one."""
        with self.database.read() as transaction:
            lease = transaction.row("lease", recipe=recipe)
        return int(lease["epoch"]) if lease else 0

    def held(self) -> Sequence[Row]:
        """The leases that have not expired: `recipe`, `holder`, `expires_at`, and `started_at` of the attempt or None."""
        with self.database.read() as transaction:
            return transaction.rows("held_leases", now_at=transaction.one("clock")["now_at"])

    def acquire(self, recipe: str, holder: str, duration: timedelta) -> int:
        """Lease a recipe for a training; the fencing token that later writes have to present.

        A lease of a process on this machine that no longer runs counts as free.

        Raises:
            Busy: another worker holds the lease.
        """
        with self.database.write() as transaction:
            now = transaction.one("clock")["now_at"]
            lease = transaction.row("lease", recipe=recipe)
            dead_holder = lease["holder"] if lease and is_dead(lease["holder"]) else None
            acquired = transaction.row(
                "acquire_lease",
                recipe=recipe,
                holder=holder,
                expires_at=now + duration,
                now_at=now,
                dead_holder=dead_holder,
            )
            if acquired is not None:
                return int(acquired["epoch"])
            lease = transaction.one("lease", recipe=recipe)
        raise Busy(f"{lease['holder']} trains {recipe} until {lease['expires_at']:%Y-%m-%d %H:%M} UTC at the latest")

    def release(self, recipe: str, fencing_token: int) -> None:
        """End a lease; nothing happens if another worker holds it by now."""
        with self.database.write() as transaction:
            now = transaction.one("clock")["now_at"]
            transaction.execute("release_lease", recipe=recipe, fencing_token=fencing_token, now_at=now)


def refuse_stale_token(transaction: Transaction, recipe: str, fencing_token: int, activity: str) -> None:
    """Refuse to write with an old fencing token.

    Args:
        transaction: in which the write happens.
        recipe: whose lease.
        fencing_token: the one that was current when the work began.
        activity: what was done meanwhile, for the message.

    Raises:
        Overtaken: another worker leased the recipe since.
    """
    lease = transaction.row("lease", recipe=recipe)
    if lease is not None and lease["epoch"] != fencing_token:
        raise Overtaken(f"{lease['holder']} took {recipe} over while {activity}: run again")


def current_holder() -> str:
    """This process, as leases name it: host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_dead(holder: str) -> bool:
    """Whether a holder is a process of this machine that has ended; False for processes of other machines."""
    host, _, process = holder.rpartition(":")
    if host != socket.gethostname() or not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
