"""Who may train a recipe: a lease with an epoch, by the database's clock; who was taken over writes nothing more."""

from __future__ import annotations

import os
import socket
from datetime import timedelta

from pipeline.errors import Busy, Overtaken
from pipeline.storage.statements import Transaction


def holder_here() -> str:
    """This process, as leases name it."""
    return f"{socket.gethostname()}:{os.getpid()}"


def is_gone(holder: str) -> bool:
    """Whether a holder was a process of this machine that has ended; of another machine's nobody here can tell."""
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


def lease_epoch(transaction: Transaction, recipe: str) -> int:
    """How often the recipe was taken; 0 before the first time."""
    row = transaction.row("lease", recipe=recipe)
    return int(row["epoch"]) if row else 0


def take_lease(transaction: Transaction, recipe: str, holder: str, lasts: timedelta) -> int:
    """Hold a recipe; the epoch of this holding.

    What is held by a process of this machine that was killed is free.

    Raises:
        Busy: somebody else holds it.
    """
    clock = transaction.row("clock")
    assert clock is not None
    now = clock["now_at"]
    lease = transaction.row("lease", recipe=recipe)
    gone = lease["holder"] if lease and is_gone(lease["holder"]) else None
    taken = transaction.row("take_lease", recipe=recipe, holder=holder, expires_at=now + lasts, now_at=now, gone=gone)
    if taken is not None:
        return int(taken["epoch"])
    lease = transaction.row("lease", recipe=recipe)
    assert lease is not None
    raise Busy(f"{lease['holder']} trains {recipe} until {lease['expires_at']:%Y-%m-%d %H:%M} UTC at the latest")


def give_lease_back(transaction: Transaction, recipe: str, epoch: int) -> None:
    """Hold a recipe no longer; nothing happens if somebody else does by now."""
    clock = transaction.row("clock")
    assert clock is not None
    transaction.execute("give_lease_back", recipe=recipe, epoch=epoch, now_at=clock["now_at"])


def refuse_overtaken(transaction: Transaction, recipe: str, epoch: int, meanwhile: str) -> None:
    """Refuse a write that was begun under another holding.

    Raises:
        Overtaken: the recipe was taken over.
    """
    lease = transaction.row("lease", recipe=recipe)
    if lease is not None and lease["epoch"] != epoch:
        raise Overtaken(f"{lease['holder']} took {recipe} over while {meanwhile}: run again")
