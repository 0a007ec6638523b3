"""Ingest what a source delivers, or approve the batch that is on hold."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused, NothingHeld, Rejection
from pipeline.ingest.changes import BatchCounts, BatchDiff, compare_values
from pipeline.ingest.reader import ParsedBatch, parse_delivery
from pipeline.ingest.versions import publish_late
from pipeline.records.expectation import Expectation
from pipeline.sources.registry import fetch
from pipeline.storage.batches import BatchHeader, BatchWriter, HeldContent, HeldPart, Outlook
from pipeline.storage.store import Store
from pipeline.text import counted, list_some
from pipeline.timeseries.long_values import Change, VersionChange

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestResult:
    """What a source delivered: rows read, values by what they change, rows rejected, new gaps."""

    source: str
    num_read: int = 0
    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0
    num_rejected: int = 0
    #: periods between two values of a series that have none, and were no gap before this delivery
    num_missing: int = 0
    #: which rows were rejected, in one line; None if none was
    quarantine: str | None = None
    #: which series are on hold although the others were ingested, and why; None if none is
    on_hold: str | None = None
    #: the number of the batch, for `ingest --withdraw`; None if none was written
    batch_id: int | None = None


def ingest_source(recipe: Recipe, store: Store, now: datetime) -> IngestResult:
    """Ingest what the recipe's source has, in one transaction; nothing if it has not changed since the last time.

    Args:
        recipe: which source, and what is expected of it.
        store: where observations are kept.
        now: the clock.

    Raises:
        BatchRefused: the source is faulty as a whole; the rejected rows are kept with their place and rule.
        BatchHeld: the source would change its history in an unlikely way; the batch is kept for `approve_batch`.
    """
    header = BatchHeader(recipe=recipe.name, source=recipe.source.kind, content_hash="")
    context = store.batches.fetch_context(recipe.name, now)
    try:
        with fetch(recipe, context) as delivery:
            header = replace(header, source=delivery.source, content_hash=delivery.content_hash, state=delivery.state)
            if delivery.content_hash == context.content_hash:
                logger.info("%s has not changed since it was last ingested", delivery.source)
                return IngestResult(source=delivery.source)
            if store.batches.is_rejected(recipe.name, delivery.content_hash):
                logger.warning("%s is still the delivery that was rejected; nothing was ingested", delivery.source)
                return IngestResult(source=delivery.source)
            with parse_delivery(delivery, recipe, now=now) as batch:
                result = _ingest_batch(batch, header, store, now)
    except BatchHeld:
        raise
    except BatchRefused as refusal:
        store.batches.refuse(replace(header, source=refusal.source), str(refusal), refusal.rejections, now)
        raise
    if not delivery.ended:
        logger.info("%s ends without a newline; its last row was accepted as complete", delivery.source)
    _log_result(result)
    return result


def approve_batch(recipe: Recipe, store: Store, now: datetime) -> IngestResult:
    """Ingest the batch that is on hold as it was delivered, whatever it does to the history.

    Raises:
        NothingHeld: no batch is on hold.
    """
    held = store.batches.held(recipe.name)
    if held is None:
        raise NothingHeld(f"no batch of {recipe.name} is on hold: there is nothing to approve")
    header = BatchHeader(
        recipe=recipe.name,
        source=held.source,
        content_hash=held.content_hash,
        state=held.state,
        releases=held.batch_id,
    )
    counts = BatchCounts(held.num_read)
    with store.batches.write(header, now) as writer:
        changes = _ChangeWriter(writer, recipe, now)
        for part in store.batches.held_parts(held):
            writer.register(part.names)
            change = compare_values(part.values, writer.stored_values(part.values, recipe.grid))
            counts.add(change)
            changes.add(change, part.names)
            writer.add_attributes(part.attributes, part.names)
        changes.finish(counts.as_dict(), [], expectation=held.expectation)
    result = IngestResult(
        source=held.source,
        num_read=counts.num_read,
        num_new=counts.num_new,
        num_revised=counts.num_revised,
        num_same=counts.num_same,
        batch_id=writer.batch_id,
    )
    _log_result(result)
    return result


def reject_batch(recipe: Recipe, store: Store, now: datetime) -> IngestResult:
    """Drop the batch that is on hold. The same delivery is not looked at again, another one is.

    Raises:
        NothingHeld: no batch is on hold.
    """
    held = store.batches.held(recipe.name)
    if held is None:
        raise NothingHeld(f"no batch of {recipe.name} is on hold: there is nothing to reject")
    store.batches.reject(recipe.name, held, now)
    logger.info("%s: batch %s was rejected; nothing of it was ingested", held.source, held.batch_id)
    return IngestResult(source=held.source, num_read=held.num_read)


def withdraw_batch(recipe: Recipe, store: Store, now: datetime, *, batch_id: int) -> IngestResult:
    """Restore what was known before a batch; every version of every value is kept.

    Values that a later batch has changed since stay as they are.

    Raises:
        NothingHeld: the recipe has no accepted batch of that number, or it was withdrawn already.
    """
    num_restored = store.batches.withdraw(recipe.name, batch_id, now)
    result = IngestResult(source=f"withdrawal of batch {batch_id}", num_revised=num_restored)
    _log_result(result)
    return result


def _ingest_batch(batch: ParsedBatch, header: BatchHeader, store: Store, now: datetime) -> IngestResult:
    """Accept a parsed batch, or put it or a few of its series on hold; every error lists all rejected rows."""
    as_parsed = replace(batch, rejections=batch.rejections.copy())
    diff = BatchDiff(batch)
    write = _write_versions if batch.recipe.source.has_versions else _write_changes
    try:
        try:
            return write(diff, header, store, now)
        except BatchHeld as hold:
            set_aside = diff.suspicious_series()
            if not set_aside:
                raise
            others = BatchDiff(as_parsed, set_aside=set_aside)
            return _write_changes(others, header, store, now, _SetAside(diff, hold))
    except BatchHeld as hold:
        content = HeldContent(
            reason=BatchHeld(str(hold), [*batch.rejections, *hold.rejections], source=hold.source),
            parts=_clean_parts(diff),
            num_read=batch.num_read,
            outlook=Outlook(preview=diff.preview(), expectation=diff.accepted_expectation()),
        )
        store.batches.hold(header, content, now)
        raise content.reason from None
    except BatchRefused as refusal:
        rejections = [*batch.rejections, *refusal.rejections]
        raise BatchRefused(str(refusal), rejections, source=refusal.source) from None


@dataclass(frozen=True, slots=True)
class _SetAside:
    """Series of a batch that are put on hold while the others are accepted."""

    whole: BatchDiff
    hold: BatchHeld

    def reason(self, others: BatchDiff) -> str:
        """Why they are on hold, for the log."""
        text = str(self.hold).removeprefix(f"{self.hold.source}: ")
        return text.replace("nothing was ingested", f"{list_some(sorted(others.set_aside))} on hold")

    def content(self, others: BatchDiff) -> HeldContent:
        """What is kept of them, once the other series are compared."""
        preview, names = self.whole.preview(), others.set_aside
        own = replace(
            preview,
            num_new=preview.num_new - others.counts.num_new,
            num_revised=preview.num_revised - others.counts.num_revised,
            num_same=preview.num_same - others.counts.num_same,
            num_absent=0,
            missing_series=(),
            examples=tuple(example for example in preview.examples if example[0] in names),
        )
        source = self.hold.source
        return HeldContent(
            reason=BatchHeld(f"{source}: {self.reason(others)}", self.hold.rejections, source=source),
            parts=_set_aside_parts(self.whole, names),
            num_read=own.num_new + own.num_revised + own.num_same,
            outlook=Outlook(preview=own, expectation=others.next_expectation()),
        )


def _write_changes(
    diff: BatchDiff, header: BatchHeader, store: Store, now: datetime, set_aside: _SetAside | None = None
) -> IngestResult:
    """Compare and write the batch part by part in one transaction; an error leaves nothing of it."""
    batch = diff.batch
    with store.batches.write(header, now) as writer:
        diff.history.expectation = writer.expectation
        writer.register(batch.names)
        changes = _ChangeWriter(writer, batch.recipe, now)
        for rows in batch.spool.parts():
            delivered = diff.clean(rows)
            stored = writer.stored_values(
                delivered, batch.recipe.grid, since=diff.compared_since, before=diff.num_values_before
            )
            changes.add(diff.compare(delivered, stored), batch.names)
        if diff.has_whole_history:
            missing = writer.missing_values()
            diff.history.expect_series({key: count for key, count in missing.items() if key[0] not in diff.set_aside})
        diff.refuse_faulty()
        diff.hold_suspicious()
        writer.add_attributes(batch.attributes, batch.names)
        changes.finish(diff.counts.as_dict(), batch.rejections, expectation=diff.next_expectation())
        if set_aside is not None:
            writer.set_aside = set_aside.content(diff)
    result = _result(diff, writer.batch_id)
    return result if set_aside is None else replace(result, on_hold=set_aside.reason(diff))


def _write_versions(diff: BatchDiff, header: BatchHeader, store: Store, now: datetime) -> IngestResult:
    """Write the versions of a batch as if it had arrived in parts, each when it became known; in one transaction."""
    batch = diff.batch
    with store.batches.write(header, now) as writer:
        writer.register(batch.names)
        delivered = (diff.clean_versions(rows) for rows in batch.spool.parts())
        changes = [diff.compare_versions(versions, writer.stored_versions(versions)) for versions in delivered]
        diff.refuse_faulty()
        writer.add_attributes(batch.attributes, batch.names)
        _write_by_instant(writer, changes)
        writer.finish_vintages(diff.counts.as_dict(), batch.rejections)
    return _result(diff, writer.batch_id)


@dataclass(frozen=True, slots=True)
class _ChangeWriter:
    """Writes what a batch changes; with a publication lag at the end, when it is clear since when what is known."""

    writer: BatchWriter
    recipe: Recipe
    now: datetime
    _waiting: list[VersionChange] = field(default_factory=list)

    @property
    def has_lag(self) -> bool:
        """Whether some values count as known earlier than now."""
        return self.recipe.source.publication_lag is not None and bool(self.writer.is_new_series().any())

    def add(self, change: Change, names: Sequence[tuple[str, str]]) -> None:
        """Write the changes of one part, or keep them for `finish`."""
        if self.has_lag:
            self._waiting.append(publish_late(change, self.writer.is_new_series(), names, self.recipe, self.now))
        else:
            self.writer.add(change.new, change.revised)

    def finish(
        self, counts: Mapping[str, int], rejections: Sequence[Rejection], *, expectation: Expectation | None
    ) -> None:
        """Complete the batch."""
        if self.has_lag:
            _write_by_instant(self.writer, self._waiting)
            self.writer.finish_vintages(counts, rejections, expectation=expectation)
        else:
            self.writer.finish(counts, rejections, expectation=expectation)


def _write_by_instant(writer: BatchWriter, changes: Sequence[VersionChange]) -> None:
    instants = [versions.known_at for change in changes for versions in (change.new, change.revised, change.older)]
    writer.open_vintages(np.unique(np.concatenate(instants)) if instants else np.empty(0, "datetime64[us]"))
    for change in changes:
        writer.add_versions(change)


def _result(diff: BatchDiff, batch_id: int) -> IngestResult:
    batch = diff.batch
    return IngestResult(
        source=batch.source,
        num_read=diff.counts.num_read,
        num_new=diff.counts.num_new,
        num_revised=diff.counts.num_revised,
        num_same=diff.counts.num_same,
        num_rejected=len(batch.rejections),
        num_missing=diff.num_missing,
        quarantine=batch.describe_quarantine(),
        batch_id=batch_id,
    )


def _clean_parts(diff: BatchDiff) -> Iterator[HeldPart]:
    """Clean the values of a batch once more, to keep them; what this rejects is in the batch already."""
    batch = diff.batch
    again = BatchDiff(replace(batch, rejections=[]), stray=diff.stray)
    for n, rows in enumerate(batch.spool.parts()):
        attributes = batch.attributes if n == 0 else {}
        yield HeldPart(names=batch.names, values=again.clean(rows), attributes=attributes)


def _set_aside_parts(diff: BatchDiff, names: frozenset[str]) -> Iterator[HeldPart]:
    """The values of some series of a batch."""
    aside = BatchDiff(diff.batch, set_aside=names)
    for part in _clean_parts(diff):
        values = part.values.take(aside.are_set_aside(part.values))
        yield HeldPart(names=part.names, values=values, attributes={})


def _log_result(result: IngestResult) -> None:
    logger.info(
        "%s: %s new, %s revised, %s unchanged, %s rejected",
        result.source,
        result.num_new,
        result.num_revised,
        result.num_same,
        result.num_rejected,
    )
    if result.quarantine:
        logger.warning("%s: %s", result.source, result.quarantine)
    if result.on_hold:
        logger.warning("%s: %s", result.source, result.on_hold)
    if result.num_missing:
        logger.info("%s: %s without a value stay gaps", result.source, counted(result.num_missing, "period"))
