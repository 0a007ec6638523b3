"""Vintages: which period was the newest at which instant, and the snapshot from which an origin is forecast again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Vintage:
    """The newest observed period from an instant on, until the next vintage."""

    known_at: datetime
    period: np.datetime64


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownVersions:
    """The versions of values that the world knew at an instant, of those that the store had recorded by another."""

    #: the newest instant up to the one asked for at which something became known
    as_of: datetime
    recorded_by: datetime
    #: the newest batch among them
    batch_id: int
    #: whether all batches up to that one are among them
    is_in_order: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The state of the data from which an origin is forecast."""

    #: the instant of that state; None: the current data
    as_of: datetime | None
    #: whether it has periods after the origin, which have to be cut off
    is_cut: bool


def snapshot_at(origin: np.datetime64, vintages: Sequence[Vintage]) -> Snapshot:
    """The last state of the data in which the origin was the newest period.

    If the origin never was the newest period, it arrived together with later periods: then the state after that
    delivery, cut at the origin. Nothing is older than the first delivery: for its origins the current data, cut.

    Args:
        origin: the last period that the forecast may use.
        vintages: ascending.
    """
    matching = [vintage for vintage in vintages if vintage.period == origin]
    if matching:
        return Snapshot(as_of=matching[-1].known_at, is_cut=False)
    first_later = next((n for n, vintage in enumerate(vintages) if vintage.period > origin), 0)
    if first_later == 0:
        return Snapshot(as_of=None, is_cut=True)
    return Snapshot(as_of=vintages[first_later].known_at, is_cut=True)
