"""Batches: one transaction each for the header, the new values and the revisions; refused and held batches."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import BatchHeld, NothingHeld, Rejection
from pipeline.records.expectation import BatchPreview, Expectation
from pipeline.records.lineage import LatestBatch
from pipeline.sources.delivery import FetchContext
from pipeline.storage.bulk_load import Column, all_values, count_values, load, read_versions, values_as_of
from pipeline.storage.engine import Database
from pipeline.storage.mapping import rejection_row
from pipeline.storage.statements import Row, Transaction
from pipeline.storage.vintages import KnownVersions
from pipeline.timeseries.frequency import Frequency, Periods
from pipeline.timeseries.long_values import LongValues, VersionChange, Versions, concatenate, empty_values
from pipeline.timeseries.observations import TARGET

#: so many revisions are collected from several parts before they are written
MAX_COLLECTED_REVISIONS = 200_000

#: where a rule lists the lines of conflicting rows
_LINES = re.compile(r" \(lines [^)]*\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchHeader:
    """Where a batch comes from."""

    recipe: str
    source: str
    content_hash: str
    #: what the source wants to be given at the next fetch
    state: Mapping[str, str] = field(default_factory=dict)
    #: the number of the held batch that this batch approves
    releases: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldPart:
    """Cleaned values of some series of a held batch."""

    #: (series, variable) by the numbers in `values.series`
    names: list[tuple[str, str]]
    values: LongValues
    #: by (series, attribute)
    attributes: dict[tuple[str, str], str]

    def to_bytes(self) -> bytes:
        """The part as an `.npz` file of numbers and JSON text, without pickles."""
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

    @classmethod
    def from_bytes(cls, content: bytes) -> HeldPart:
        """The part that `to_bytes` wrote."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            described = json.loads(arrays["described"].tobytes())
            values = LongValues(arrays["series"], arrays["period"].view("datetime64[us]"), arrays["value"])
        return cls(
            names=[(series, variable) for series, variable in described["names"]],
            values=values,
            attributes={(series, name): value for series, name, value in described["attributes"]},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldBatch:
    """A batch on hold until a person approves it."""

    batch_id: int
    source: str
    content_hash: str
    state: Mapping[str, str]
    message: str
    num_read: int
    preview: BatchPreview
    #: what is expected of later deliveries once it is approved
    expectation: Expectation


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What a batch on hold would change now, and what it lets expect later."""

    preview: BatchPreview
    expectation: Expectation


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldContent:
    """What is kept of a batch on hold."""

    #: why it is held, and its rejected rows
    reason: BatchHeld
    parts: Iterable[HeldPart]
    num_read: int
    outlook: Outlook | None = None


@dataclass(frozen=True, slots=True)
class BatchRepository:
    """Batches in one database."""

    database: Database

    def fetch_context(self, recipe: str, now: datetime) -> FetchContext:
        """What a source is given at the next fetch: the previous delivery, the newest period and the time."""
        with self.database.read() as transaction:
            last = transaction.row("previous_delivery", recipe=recipe)
            newest = transaction.row("newest_period", recipe=recipe)
        if last is None:
            return FetchContext(now=now)
        return FetchContext(
            now=now,
            content_hash=last["content_hash"],
            state=json.loads(last["state"]),
            newest_period=newest["period"] if newest else None,
        )

    @contextmanager
    def write(self, header: BatchHeader, now: datetime) -> Iterator[BatchWriter]:
        """Write a batch in one transaction, under the recipe's lock; an error leaves nothing of it.

        Raises:
            NothingHeld: the held batch that it approves is no longer on hold.
        """
        with self.database.write() as transaction:
            writer = begin_batch(transaction, header, now)
            yield writer
            transaction.execute("delete_held_parts", recipe=header.recipe)
            if writer.set_aside is not None:
                _insert_held(transaction, header, next_instant(transaction, header.recipe, now), writer.set_aside)

    def refuse(self, header: BatchHeader, message: str, rejections: Sequence[Rejection], now: datetime) -> None:
        """Record a refused batch: its header and its rejected rows only. Repeating the last refusal adds nothing."""
        with self.database.write() as transaction:
            recorded_at = next_instant(transaction, header.recipe, now)
            if _is_same(transaction.row("latest_batch_if_not_accepted", recipe=header.recipe), header, message):
                return
            batch_id = _insert_batch(
                transaction, header, recorded_at, status="refused", message=message, num_rejected=len(rejections)
            )
            _insert_rejections(transaction, header.recipe, batch_id, rejections)

    def hold(self, header: BatchHeader, content: HeldContent, now: datetime) -> None:
        """Keep a batch until a person approves it; none of its values count yet.

        It replaces a batch that is on hold already. Repeating the same delivery adds nothing.
        """
        with self.database.write() as transaction:
            recorded_at = next_instant(transaction, header.recipe, now)
            if _is_same(transaction.row("held_batch", recipe=header.recipe), header, str(content.reason)):
                return
            transaction.execute("delete_held_parts", recipe=header.recipe)
            _insert_held(transaction, header, recorded_at, content)

    def held(self, recipe: str) -> HeldBatch | None:
        """The batch that is on hold, if there is one."""
        with self.database.read() as transaction:
            row = transaction.row("held_batch", recipe=recipe)
        if row is None:
            return None
        return HeldBatch(
            batch_id=row["batch_id"],
            source=row["source"],
            content_hash=row["content_hash"],
            state=json.loads(row["state"]),
            message=row["message"],
            num_read=row["num_read"],
            preview=BatchPreview.from_json(row["preview"]),
            expectation=Expectation.from_json(row["expectation"]),
        )

    def reject(self, recipe: str, held: HeldBatch, now: datetime) -> None:
        """Drop a held batch: its header and its rejected rows stay."""
        with self.database.write() as transaction:
            decided_at = next_instant(transaction, recipe, now)
            transaction.execute("reject_batch", batch_id=held.batch_id, decided_at=decided_at)
            transaction.execute("delete_held_parts", recipe=recipe)

    def is_rejected(self, recipe: str, content_hash: str) -> bool:
        """Whether a person rejected the newest batch, and it has this content."""
        with self.database.read() as transaction:
            newest = transaction.row("newest_decision", recipe=recipe)
        return newest is not None and (newest["decision"], newest["content_hash"]) == ("rejected", content_hash)

    def withdraw(self, recipe: str, batch_id: int, now: datetime) -> int:
        """Write versions that restore what was known before a batch; returns how many.

        Raises:
            NothingHeld: the recipe has no such accepted batch, or it was withdrawn already.
        """
        with self.database.write() as transaction:
            next_instant(transaction, recipe, now)
            batch = transaction.row("batch_to_withdraw", recipe=recipe, batch_id=batch_id)
            if batch is None or batch["decision"] is not None:
                state = "was withdrawn already" if batch else "is no accepted batch"
                raise NothingHeld(f"batch {batch_id} of {recipe} {state}: there is nothing to withdraw")
            last = transaction.one("previous_delivery", recipe=recipe)
            header = BatchHeader(
                recipe=recipe,
                source=f"withdrawal of batch {batch_id}",
                content_hash=last["content_hash"],
                state=json.loads(last["state"]),
            )
            writer = begin_batch(transaction, header, now)
            num_restored = writer.write_versions("restore_values", batch_id=batch_id)
            before = batch["expectation_before"] if batch["expectation"] else None
            writer.keep_expectation(Expectation.from_json(before) if batch["expectation"] else writer.expectation)
            transaction.execute("mark_withdrawn", batch_id=batch_id, decided_at=writer.recorded_at)
        return num_restored

    def count_current(self, recipe: str) -> tuple[int, int]:
        """How many series have values that are not withdrawn, and how many values these are; covariates included."""
        with self.database.read() as transaction:
            row = transaction.one("count_current", recipe=recipe)
        return int(row["num_series"]), int(row["num_values"])

    def reset(self, recipe: str, now: datetime) -> None:
        """Withdraw all values, forget what was accepted and where the source was read to, and retire the champion."""
        header = BatchHeader(recipe=recipe, source="reset", content_hash="")
        with self.write(header, now) as writer:
            writer.write_versions("withdraw_all_values")
            writer.keep_expectation(Expectation())
            writer.transaction.execute("retire_champion", recipe=recipe)

    def held_parts(self, held: HeldBatch) -> Iterator[HeldPart]:
        """The values of a held batch, part by part."""
        with self.database.read() as transaction:
            rows = transaction.rows("held_parts", batch_id=held.batch_id)
        for row in rows:
            yield HeldPart.from_bytes(bytes(row["content"]))

    def latest_as_of(self, recipe: str, as_of: datetime) -> LatestBatch | None:
        """The newest batch with new or revised values at an instant; None before the first one."""
        with self.database.read() as transaction:
            row = transaction.row("latest_batch_as_of", recipe=recipe, as_of=as_of)
        return None if row is None else LatestBatch(**row)

    def known_instants(self, recipe: str) -> list[datetime]:
        """Since when values of the recipe are known, ascending; between two instants nothing changed."""
        with self.database.read() as transaction:
            return [row["known_at"] for row in transaction.rows("known_instants", recipe=recipe)]

    def known_by(self, recipe: str, as_of: datetime, recorded_by: datetime) -> KnownVersions | None:
        """What was known at one instant, of what was recorded by another; None before the first values."""
        with self.database.read() as transaction:
            rows = transaction.rows("batches_of_recipe", recipe=recipe)
        known = [row["known_at"] <= as_of and row["recorded_at"] <= recorded_by for row in rows]
        if not any(known):
            return None
        last = max(n for n, is_known in enumerate(known) if is_known)
        return KnownVersions(
            as_of=max(row["known_at"] for row, is_known in zip(rows, known, strict=True) if is_known),
            recorded_by=recorded_by,
            batch_id=int(rows[last]["batch_id"]),
            is_in_order=all(known[: last + 1]),
        )

    def last_recorded_at(self, recipe: str) -> datetime | None:
        """When the newest accepted batch of the recipe was recorded; None before the first."""
        with self.database.read() as transaction:
            row = transaction.row("newest_known_at", recipe=recipe)
        return row["recorded_at"] if row else None

    def first_known_at(self, recipe: str) -> datetime | None:
        """Since when the recipe's first observations are known; None if there are none."""
        with self.database.read() as transaction:
            row = transaction.row("first_recorded_at", recipe=recipe)
        return row["recorded_at"] if row else None


@dataclass(slots=True)
class _VintageCounts:
    """What became known at one instant."""

    batch_id: int
    known_at: datetime | None
    num_new: int = 0
    num_revised: int = 0
    first_period: np.datetime64 | None = None
    last_period: np.datetime64 | None = None

    def count(self, what: str, periods: Periods) -> None:
        """Count values of periods as `num_new` or `num_revised`."""
        setattr(self, what, getattr(self, what) + len(periods))
        ends = [
            periods.min(),
            periods.max(),
            *(end for end in (self.first_period, self.last_period) if end is not None),
        ]
        self.first_period, self.last_period = min(ends), max(ends)


@dataclass(slots=True)
class BatchWriter:
    """A batch that is being written. The recipe is locked, so the stored values it is compared with do not change."""

    transaction: Transaction
    header: BatchHeader
    recorded_at: datetime
    batch_id: int = 0
    #: what a person accepted about earlier batches
    expectation: Expectation = field(default_factory=Expectation)
    #: the newest batch before this one; 0 before the first
    _previous_batch_id: int = 0
    #: the store's id of each series, by its number in the batch
    _series_ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    #: ids of series that were stored before this batch, and of those that the batch was compared with
    _stored_ids: set[int] = field(default_factory=set)
    _compared_ids: set[int] = field(default_factory=set)
    _revisions: list[LongValues] = field(default_factory=list)
    #: series that are put on hold as a batch of their own, in the same transaction; None: there are none
    set_aside: HeldContent | None = None
    #: the instants since when something of the batch is known, ascending, and what became known at each
    _instants: Periods = field(default_factory=lambda: np.empty(0, "datetime64[us]"))
    _vintages: list[_VintageCounts] = field(default_factory=list)
    #: the first and the last period with a new or revised value
    _changed_periods: list[np.datetime64] = field(default_factory=list)

    def register(self, names: Sequence[tuple[str, str]]) -> None:
        """Add the series that are not stored yet, given as (series, variable); their positions are their numbers."""
        recipe = self.header.recipe
        series_ids = _series_ids_by_name(self.transaction, recipe)
        if len(self._series_ids) == 0:  # the parts of one batch register the same names
            self._stored_ids = set(series_ids.values())
        missing = [{"series": name[0], "variable": name[1]} for name in names if name not in series_ids]
        if missing:
            self.transaction.execute("insert_series", recipe=recipe, names=json.dumps(missing))
            series_ids = _series_ids_by_name(self.transaction, recipe)
        self._series_ids = np.array([series_ids[name] for name in names], np.int64)

    def stored_values(
        self, delivered: LongValues, frequency: Frequency, *, since: np.datetime64 | None = None, before: int = 0
    ) -> LongValues:
        """The stored values of the series in `delivered`, under the batch's numbers and in their order; NaN: withdrawn.

        Args:
            delivered: values of the batch.
            frequency: of the recipe.
            since: only values later than this period; None: all values.
            before: with `since`, so many of the last values of each series up to that period, too.
        """
        numbers = np.unique(delivered.series)
        is_stored = [series_id in self._stored_ids for series_id in self._series_ids[numbers].tolist()]
        numbers = numbers[is_stored]
        if self._previous_batch_id == 0 or len(numbers) == 0:
            return empty_values()
        ids = self._series_ids[numbers]
        self._compared_ids.update(ids.tolist())
        if since is None:
            stored = all_values(self.transaction, ids.tolist(), self._previous_batch_id, frequency=frequency)
        else:
            stored = values_as_of(self.transaction, ids.tolist(), self._previous_batch_id, length=before, since=since)
        order = np.argsort(ids)
        values = LongValues(numbers[order][np.searchsorted(ids[order], stored.series)], stored.period, stored.value)
        is_sorted = (np.diff(values.series) >= 0).all()
        return values if is_sorted else values.take(np.argsort(values.series, kind="stable"))

    def missing_values(self) -> dict[tuple[str, str], int]:
        """How many values are stored of each series, by (series, variable), with which the batch was not compared so far."""
        counts = count_values(self.transaction, sorted(self._stored_ids - self._compared_ids))
        if not counts:
            return {}
        ids = _series_ids_by_name(self.transaction, self.header.recipe)
        return {name: counts[series_id] for name, series_id in ids.items() if series_id in counts}

    def write_versions(self, query: str, **parameters: Any) -> int:
        """Write a version of many values by one statement, and complete the batch; returns how many."""
        recipe = self.header.recipe
        self.transaction.execute(query, recipe=recipe, new_batch_id=self.batch_id, **parameters)
        changed = self.transaction.one("changed_periods", recipe=recipe, batch_id=self.batch_id)
        counts = {"num_read": 0, "num_new": 0, "num_same": 0, "num_rejected": 0, "known_at": None}
        self.transaction.execute("finish_batch", batch_id=self.batch_id, **counts, **changed)
        return int(changed["num_revised"])

    def keep_expectation(self, expectation: Expectation) -> None:
        """Keep what is expected of later deliveries, if that changed."""
        if expectation != self.expectation:
            kept = expectation.to_json()
            self.transaction.execute("keep_outlook", batch_id=self.batch_id, preview=None, expectation=kept)

    def stored_versions(self, delivered: Versions) -> Versions:
        """The stored versions of the series in `delivered`, under the batch's numbers; NaN: withdrawn.

        They are in order of series, period and the instant since when they are known.
        """
        numbers = np.unique(delivered.values.series)
        ids = self._series_ids[numbers]
        if self._previous_batch_id == 0 or len(ids) == 0:
            return Versions(empty_values(), np.empty(0, "datetime64[us]"))
        stored = read_versions(
            self.transaction,
            self.header.recipe,
            as_of=self.recorded_at,
            recorded_by=self.recorded_at,
            series_ids=(int(ids.min()), int(ids.max())),
        )
        stored = stored.take(np.isin(stored.values.series, ids))
        by_id, values = np.argsort(ids), stored.values
        series = numbers[by_id][np.searchsorted(ids[by_id], values.series)]
        versions = Versions(LongValues(series, values.period, values.value), stored.known_at)
        return versions.take(np.argsort(series, kind="stable"))

    def is_new_series(self) -> npt.NDArray[np.bool_]:
        """Whether each series of the batch, by its number, was not stored before."""
        return ~np.isin(self._series_ids, list(self._stored_ids))

    def open_vintages(self, instants: Periods) -> None:
        """Add a batch for each instant since when something of the delivery is known; this one is the first of them.

        Args:
            instants: ascending; none: the delivery changes nothing.
        """
        recorded_at = np.datetime64(self.recorded_at.astimezone(UTC).replace(tzinfo=None), "us")
        self._instants = instants if len(instants) else np.array([recorded_at])
        known = [None if instant >= recorded_at else _to_instant(instant) for instant in self._instants]
        others = [
            _insert_batch(self.transaction, self.header, self.recorded_at, status="accepted", known_at=known_at)
            for known_at in known[1:]
        ]
        self._vintages = [
            _VintageCounts(batch_id, known_at)
            for batch_id, known_at in zip([self.batch_id, *others], known, strict=True)
        ]

    def add_versions(self, change: VersionChange) -> None:
        """Write versions, each into the batch of its instant."""
        for table, versions, field_name in (
            ("observations", change.new, "num_new"),
            ("revisions", change.revised, "num_revised"),
            ("older_versions", change.older, "num_revised"),
        ):
            vintage = np.searchsorted(self._instants, versions.known_at)
            batch_ids = np.array([counts.batch_id for counts in self._vintages], np.int64)[vintage]
            values = versions.values
            self._load(table, LongValues(self._series_ids[values.series], values.period, values.value), batch_ids)
            for n in np.unique(vintage).tolist():
                self._vintages[n].count(field_name, values.period[vintage == n])

    def finish_vintages(
        self, counts: Mapping[str, int], rejections: Sequence[Rejection], *, expectation: Expectation | None = None
    ) -> None:
        """Complete the batches of all instants; what was read, the same or rejected counts with the last one.

        Args:
            counts: of the rows and values of the delivery, by name.
            rejections: its rejected rows.
            expectation: what is expected of later deliveries; None: the same as before.
        """
        self.keep_expectation(expectation or self.expectation)
        last = self._vintages[-1]
        totals = {"num_read": counts["num_read"], "num_same": counts["num_same"], "num_rejected": len(rejections)}
        for vintage in self._vintages:
            rest = totals if vintage is last else dict.fromkeys(totals, 0)
            self.transaction.execute("finish_batch", **asdict(vintage), **rest)
        _insert_rejections(self.transaction, self.header.recipe, last.batch_id, rejections)
        if self.header.releases is not None:
            self.transaction.execute("approve_batch", batch_id=self.header.releases)

    def add(self, new: LongValues, revised: LongValues) -> None:
        """Write new values, and collect revisions, of which each part of a batch has few, to write them together.

        Args:
            new: values of periods that have none yet.
            revised: other values of periods that have one; NaN withdraws it.
        """
        new, revised = (LongValues(self._series_ids[v.series], v.period, v.value) for v in (new, revised))
        for changed in (new, revised):
            if len(changed):
                periods = [*self._changed_periods, changed.period.min(), changed.period.max()]
                self._changed_periods = [min(periods), max(periods)]
        self._load("observations", new)
        self._revisions.append(revised)
        if sum(map(len, self._revisions)) > MAX_COLLECTED_REVISIONS:
            self._load_revisions()

    def _load_revisions(self) -> None:
        if self._revisions:
            self._load("revisions", concatenate(*self._revisions))
        self._revisions = []

    def _load(self, table: str, values: LongValues, batch_ids: npt.NDArray[np.int64] | None = None) -> None:
        if len(values) == 0:
            return
        is_withdrawn = np.isnan(values.value)
        for rows in (~is_withdrawn, is_withdrawn):
            if rows.any():
                columns: dict[str, Column] = {
                    "series_id": values.series[rows],
                    "period": values.period[rows],
                    "value": values.value[rows] if rows is not is_withdrawn else None,
                    "batch_id": self.batch_id if batch_ids is None else batch_ids[rows],
                }
                load(self.transaction, table, columns)

    def add_attributes(self, attributes: Mapping[tuple[str, str], str], names: Sequence[tuple[str, str]]) -> None:
        """Write attributes, given by (series, attribute), that are new or have changed."""
        recipe, previous = self.header.recipe, self._previous_batch_id
        rows = self.transaction.rows("attributes_as_of", recipe=recipe, batch_id=previous)
        stored = {(row["series_id"], row["name"]): row["value"] for row in rows}
        series_ids = {name: int(self._series_ids[n]) for n, (name, variable) in enumerate(names) if variable == TARGET}
        self.transaction.execute_many(
            "insert_attribute",
            [
                {"series_id": series_ids[series], "name": name, "batch_id": self.batch_id, "value": value}
                for (series, name), value in attributes.items()
                if series in series_ids and stored.get((series_ids[series], name)) != value
            ],
        )

    def finish(
        self, counts: Mapping[str, int], rejections: Sequence[Rejection], *, expectation: Expectation | None = None
    ) -> None:
        """Complete the batch: its counts, its rejected rows, and the approval of a held batch.

        Args:
            counts: of its rows and values, by name.
            rejections: its rejected rows.
            expectation: what is expected of later deliveries; None: the same as before.
        """
        self.keep_expectation(expectation or self.expectation)
        self._load_revisions()
        first_period, last_period = self._changed_periods or (None, None)
        self.transaction.execute(
            "finish_batch",
            batch_id=self.batch_id,
            num_rejected=len(rejections),
            first_period=first_period,
            last_period=last_period,
            known_at=None,
            **counts,
        )
        _insert_rejections(self.transaction, self.header.recipe, self.batch_id, rejections)
        if self.header.releases is not None:
            self.transaction.execute("approve_batch", batch_id=self.header.releases)


def begin_batch(transaction: Transaction, header: BatchHeader, now: datetime) -> BatchWriter:
    """Lock the recipe until the end of the transaction and insert the header of an accepted batch.

    Raises:
        NothingHeld: the held batch that it approves is no longer on hold.
    """
    recorded_at = next_instant(transaction, header.recipe, now)
    if header.releases is not None:
        held = transaction.row("held_batch", recipe=header.recipe)
        if held is None or held["batch_id"] != header.releases:
            raise NothingHeld(f"the held batch of {header.recipe} was approved or replaced meanwhile")
    newest = transaction.row("latest_accepted_batch", recipe=header.recipe)
    previous_batch_id = int(newest["batch_id"] or 0) if newest else 0
    kept = transaction.row("latest_expectation", recipe=header.recipe)
    batch_id = _insert_batch(transaction, header, recorded_at, status="accepted")
    return BatchWriter(
        transaction,
        header,
        recorded_at,
        batch_id=batch_id,
        expectation=Expectation.from_json(kept["expectation"] if kept else None),
        _previous_batch_id=previous_batch_id,
    )


def next_instant(transaction: Transaction, recipe: str, now: datetime) -> datetime:
    """Lock the recipe; when its next batch counts as recorded. Strictly ascending, even if clocks go back."""
    transaction.row("lock_recipe", recipe=recipe)
    newest = transaction.row("latest_recorded_at", recipe=recipe)
    last = newest["recorded_at"] if newest else None
    return now if last is None else max(now, last + timedelta(microseconds=1))


def _insert_batch(
    transaction: Transaction,
    header: BatchHeader,
    recorded_at: datetime,
    *,
    status: str,
    message: str | None = None,
    num_read: int = 0,
    num_rejected: int = 0,
    known_at: datetime | None = None,
) -> int:
    """Insert the header of a batch; its number."""
    row = transaction.one(
        "insert_batch",
        recipe=header.recipe,
        source=header.source,
        content_hash=header.content_hash,
        state=json.dumps(dict(header.state), sort_keys=True),
        releases=header.releases,
        recorded_at=recorded_at,
        known_at=known_at,
        status=status,
        message=message,
        num_read=num_read,
        num_rejected=num_rejected,
        **dict.fromkeys(("num_new", "num_revised", "num_same"), 0),
    )
    return int(row["batch_id"])


def _insert_rejections(transaction: Transaction, recipe: str, batch_id: int, rejections: Sequence[Rejection]) -> None:
    """Keep rejected rows. A row that an earlier delivery had, too, is not kept again."""
    rows = [rejection_row(batch_id, rejection) for rejection in rejections]
    known: Counter[tuple[Any, ...]] = Counter()
    if any(row["line"] is not None for row in rows):
        known.update(map(_identity, transaction.rows("rejected_rows", recipe=recipe)))
    added = []
    for row in rows:
        identity = _identity(row)
        if row["line"] is not None and known[identity]:
            known[identity] -= 1
        else:
            added.append(row)
    transaction.execute_many("insert_rejection", added)


def _identity(rejected: Row) -> tuple[Any, ...]:
    """What makes a rejected row the same one in the next delivery, where it may stand in another line or file."""
    rule = _LINES.sub("", rejected["rule"])
    return rejected["column_name"], rejected["series"], rejected["period"], rejected["text"], rule


def _is_same(batch: Row | None, header: BatchHeader, message: str) -> bool:
    """Whether a stored batch has the content and the message of another one."""
    return batch is not None and (batch["content_hash"], batch["message"]) == (header.content_hash, message)


def _to_instant(moment: np.datetime64) -> datetime:
    instant: datetime = moment.astype("datetime64[us]").item()
    return instant.replace(tzinfo=UTC)


def _series_ids_by_name(transaction: Transaction, recipe: str) -> dict[tuple[str, str], int]:
    """The store's ids by (series, variable)."""
    return {
        (row["series"], row["variable"]): int(row["series_id"])
        for row in transaction.rows("variables_of_recipe", recipe=recipe)
    }


def _insert_held(transaction: Transaction, header: BatchHeader, recorded_at: datetime, content: HeldContent) -> None:
    """Write a batch on hold with its values."""
    batch_id = _insert_batch(
        transaction,
        header,
        recorded_at,
        status="held",
        message=str(content.reason),
        num_read=content.num_read,
        num_rejected=len(content.reason.rejections),
    )
    _insert_rejections(transaction, header.recipe, batch_id, content.reason.rejections)
    if content.outlook is not None:
        preview, expectation = json.dumps(asdict(content.outlook.preview)), content.outlook.expectation.to_json()
        transaction.execute("keep_outlook", batch_id=batch_id, preview=preview, expectation=expectation)
    for n, part in enumerate(content.parts):
        transaction.execute("insert_held_part", batch_id=batch_id, part=n, content=part.to_bytes())
