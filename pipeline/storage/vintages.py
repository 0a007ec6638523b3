"""Which period was the newest when: at what instants the past of a recipe can be seen as it was then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from pipeline.storage.engine import Database


@dataclass(frozen=True, kw_only=True, slots=True)
class Vintage:
    """From an instant on, until the next one, this was the newest period of which a value was known."""

    recorded_at: datetime
    period: np.datetime64


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """How an origin can be seen."""

    #: what was known at this instant; None: what is known now
    as_of: datetime | None
    #: whether periods after the origin were known by then, which have to be cut off
    is_cut: bool


def read_vintages(database: Database, recipe: str) -> list[Vintage]:
    """After each batch that changed what was known of a recipe, the newest period; ascending."""
    with database.read() as transaction:
        rows = transaction.rows("newest_by_batch", recipe=recipe)
    newest: list[Vintage] = []
    for row in rows:
        told = [row["period"]] if row["period"] is not None else []
        before = [newest[-1].period] if newest else []
        if told or before:
            newest.append(Vintage(recorded_at=row["recorded_at"], period=max(told + before)))
    return newest


def snapshot_at(origin: np.datetime64, newest: Sequence[Vintage]) -> Snapshot:
    """As it was last known while the origin was the newest period.

    An origin that never was came in one delivery with later periods: then that delivery, cut at the origin. Of what
    the first delivery brought there was no knowledge before: then what is known now, cut.
    """
    then = [one.recorded_at for one in newest if one.period == origin]
    if then:
        return Snapshot(as_of=then[-1], is_cut=False)
    later = [n for n, one in enumerate(newest) if one.period > origin]
    if later and later[0] > 0:
        return Snapshot(as_of=newest[later[0]].recorded_at, is_cut=True)
    return Snapshot(as_of=None, is_cut=True)
