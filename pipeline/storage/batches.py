"""Taking a batch in: one transaction with its header, its new values and its revisions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import NothingHeld, Rejection
from pipeline.storage.bulk_load import Column, all_values, load, num_values_of, values_as_of
from pipeline.storage.mapping import rejection_row
from pipeline.storage.statements import Row, Transaction
from pipeline.timeseries.frequency import Frequency
from pipeline.timeseries.long_values import LongValues, concatenate, empty_values
from pipeline.timeseries.observations import TARGET

#: revisions that wait for those of further parts
MOST_WAITING = 200_000

#: what a batch says of itself
Counts = Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchHeader:
    """Where a batch comes from."""

    recipe: str
    source: str
    content_hash: str
    #: left by the source for the next time
    state: Mapping[str, str] = field(default_factory=dict)
    #: the held batch that this one releases
    releases: int | None = None


@dataclass(slots=True)
class BatchWriter:
    """A batch on its way into the store: under the recipe's lock, so that what it is compared with stays."""

    transaction: Transaction
    header: BatchHeader
    recorded_at: datetime
    batch_id: int = 0
    #: the store's numbers of the series, by their number in the batch
    _series_ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    #: the last batch before this one; 0 before the first
    _before: int = 0
    _known: set[int] = field(default_factory=set)
    _told: set[int] = field(default_factory=set)
    _revised: list[LongValues] = field(default_factory=list)
    #: the first and the last period of what changes
    _periods: list[np.datetime64] = field(default_factory=list)

    def register(self, names: Sequence[tuple[str, str]]) -> None:
        """Make series known, given by name and variable; their numbers in the batch are their positions here."""
        recipe = self.header.recipe
        known = _series_numbers(self.transaction, recipe)
        self._known = set(known.values())
        unknown = [name for name in names if name not in known]
        if unknown:
            self.transaction.execute("insert_series", recipe=recipe, names=_as_json(unknown))
            known = _series_numbers(self.transaction, recipe)
        self._series_ids = np.array([known[name] for name in names], np.int64)

    def known(
        self, told: LongValues, frequency: Frequency, *, since: np.datetime64 | None = None, before: int = 0
    ) -> LongValues:
        """What is known of the series that are told of, under the batch's numbers.

        All of it, or with `since` what is later than that period, and so many values of each series `before`.
        """
        numbers = np.unique(told.series)
        numbers = numbers[[int(series_id) in self._known for series_id in self._series_ids[numbers]]]
        if self._before == 0 or len(numbers) == 0:
            return empty_values()
        ids = self._series_ids[numbers]
        self._told.update(ids.tolist())
        if since is None:
            found = all_values(self.transaction, ids.tolist(), self._before, frequency=frequency)
        else:
            found = values_as_of(self.transaction, ids.tolist(), self._before, length=before, since=since)
        order = np.argsort(ids)
        values = LongValues(numbers[order][np.searchsorted(ids[order], found.series)], found.period, found.value)
        in_order = (np.diff(values.series) >= 0).all()
        return values if in_order else values.take(np.argsort(values.series, kind="stable"))

    def num_untold(self) -> int:
        """How many values are known of series of which the batch told nothing, as far as it was compared."""
        return num_values_of(self.transaction, sorted(self._known - self._told))

    def add(self, new: LongValues, revised: LongValues) -> None:
        """Put values in; revisions are few in each part, and go in together."""
        new, revised = (LongValues(self._series_ids[one.series], one.period, one.value) for one in (new, revised))
        for changed in (new, revised):
            if len(changed):
                periods = [*self._periods, changed.period.min(), changed.period.max()]
                self._periods = [min(periods), max(periods)]
        self._load("observations", new)
        self._revised.append(revised)
        if sum(map(len, self._revised)) > MOST_WAITING:
            self._load_revised()

    def _load_revised(self) -> None:
        if self._revised:
            self._load("revisions", concatenate(*self._revised))
        self._revised = []

    def _load(self, table: str, values: LongValues) -> None:
        if len(values) == 0:
            return
        columns: dict[str, Column] = {
            "series_id": values.series,
            "period": values.period,
            "value": values.value,
            "batch_id": self.batch_id,
        }
        load(self.transaction, table, columns)

    def describe(self, attributes: Mapping[tuple[str, str], str], names: Sequence[tuple[str, str]]) -> None:
        """Keep the attributes of series that are new or have changed."""
        held = {
            (row["series_id"], row["name"]): row["value"]
            for row in self.transaction.rows("attributes_as_of", recipe=self.header.recipe, batch_id=self._before)
        }
        number = {name: int(self._series_ids[n]) for n, (name, variable) in enumerate(names) if variable == TARGET}
        self.transaction.execute_many(
            "insert_attribute",
            [
                {"series_id": number[series], "name": name, "batch_id": self.batch_id, "value": value}
                for (series, name), value in attributes.items()
                if series in number and held.get((number[series], name)) != value
            ],
        )

    def finish(self, counts: Counts, rejections: Sequence[Rejection]) -> None:
        """Write the counts into the header, and what was refused."""
        self._load_revised()
        first, last = self._periods or (None, None)
        self.transaction.execute(
            "finish_batch",
            batch_id=self.batch_id,
            num_rejected=len(rejections),
            first_period=first,
            last_period=last,
            **counts,
        )
        self.transaction.execute_many("insert_rejection", [rejection_row(self.batch_id, one) for one in rejections])
        if self.header.releases is not None:
            self.transaction.execute("release_batch", batch_id=self.header.releases)


def begin_intake(transaction: Transaction, header: BatchHeader, now: datetime) -> BatchWriter:
    """Begin a batch in a transaction of its own: the recipe is locked until its end.

    Raises:
        NothingHeld: the batch that it would release does not wait any more.
    """
    recorded_at = next_instant(transaction, header.recipe, now)
    if header.releases is not None:
        held = transaction.row("held_batch", recipe=header.recipe)
        if held is None or held["batch_id"] != header.releases:
            raise NothingHeld(f"the held batch of {header.recipe} was let in or replaced meanwhile")
    newest = transaction.row("newest_batch", recipe=header.recipe)
    before = int(newest["batch_id"] or 0) if newest else 0
    batch_id = insert_batch(transaction, header, recorded_at, status="accepted")
    return BatchWriter(transaction, header, recorded_at, batch_id=batch_id, _before=before)


def insert_batch(
    transaction: Transaction,
    header: BatchHeader,
    recorded_at: datetime,
    *,
    status: str,
    message: str | None = None,
    num_read: int = 0,
    num_rejected: int = 0,
) -> int:
    """The header of a batch; its number."""
    row = transaction.row(
        "insert_batch",
        recipe=header.recipe,
        source=header.source,
        content_hash=header.content_hash,
        state=json.dumps(dict(header.state), sort_keys=True),
        releases=header.releases,
        recorded_at=recorded_at,
        status=status,
        message=message,
        num_read=num_read,
        num_rejected=num_rejected,
        **dict.fromkeys(("num_new", "num_revised", "num_same"), 0),
    )
    assert row is not None
    return int(row["batch_id"])


def next_instant(transaction: Transaction, recipe: str, now: datetime) -> datetime:
    """When something new counts as recorded: instants of one recipe ascend strictly, whatever clocks say."""
    transaction.row("lock_recipe", recipe=recipe)
    newest = transaction.row("newest_recorded_at", recipe=recipe)
    last = newest["recorded_at"] if newest else None
    return now if last is None else max(now, last + timedelta(microseconds=1))


def _series_numbers(transaction: Transaction, recipe: str) -> dict[tuple[str, str], int]:
    return {
        (row["series"], row["variable"]): int(row["series_id"])
        for row in transaction.rows("variables_of_recipe", recipe=recipe)
    }


def _as_json(names: Sequence[tuple[str, str]]) -> str:
    return json.dumps([{"series": series, "variable": variable} for series, variable in names])


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldPart:
    """Cleaned values of some series of a batch that waits for a person."""

    names: list[tuple[str, str]]
    values: LongValues
    attributes: dict[tuple[str, str], str]

    def packed(self) -> bytes:
        """As bytes that hold numbers and text only."""
        buffer = io.BytesIO()
        described: dict[str, Any] = {
            "names": self.names,
            "attributes": [[*key, value] for key, value in self.attributes.items()],
        }
        np.savez_compressed(
            buffer,
            described=np.frombuffer(json.dumps(described).encode(), np.uint8),
            series=self.values.series,
            period=self.values.period.astype(np.int64),
            value=self.values.value,
        )
        return buffer.getvalue()


def unpacked(content: bytes) -> HeldPart:
    """A part as it was packed."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        described = json.loads(arrays["described"].tobytes())
        values = LongValues(arrays["series"], arrays["period"].view("datetime64[us]"), arrays["value"])
    return HeldPart(
        names=[(series, variable) for series, variable in described["names"]],
        values=values,
        attributes={(series, name): value for series, name, value in described["attributes"]},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldBatch:
    """A batch that waits for a person."""

    batch_id: int
    source: str
    content_hash: str
    state: Mapping[str, str]
    message: str
    num_read: int


def held_of(row: Row) -> HeldBatch:
    """The held batch that a row is."""
    return HeldBatch(
        batch_id=row["batch_id"],
        source=row["source"],
        content_hash=row["content_hash"],
        state=json.loads(row["state"]),
        message=row["message"],
        num_read=row["num_read"],
    )


def held_parts(rows: Sequence[Row]) -> Iterator[HeldPart]:
    """The parts of a held batch."""
    for row in rows:
        yield unpacked(bytes(row["content"]))
