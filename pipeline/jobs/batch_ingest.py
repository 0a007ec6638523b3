"""From a reading to the store: compared part by part with what is known, kept in one transaction or held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from pipeline.config.history import require_history
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchHeld, BatchRefused
from pipeline.ingest.changes import BatchDiff
from pipeline.ingest.reader import ParsedBatch
from pipeline.ingest.row_spool import RowSpool
from pipeline.storage.batches import BatchHeader, HeldBatch, HeldPart
from pipeline.storage.store import Store


def take_in(
    reading: ParsedBatch, header: BatchHeader, store: Store, now: datetime, *, incremental: bool, must_train: bool
) -> dict[str, int]:
    """Keep what is new of a delivery, in one transaction; its counts.

    Raises:
        BatchRefused: it is faulty; nothing of it is kept here.
        BatchHeld: it is not what it was; it is kept for a person.
        NotEnoughHistory: with `must_train`, every series is too short.
    """
    try:
        return _compared(reading, header, store, now, incremental=incremental, must_train=must_train)
    except BatchHeld as held:
        every = BatchHeld(str(held), [*reading.rejections, *held.rejections], source=held.source)
        store.batches.hold(header, every, _parts(reading), reading.num_read, now)
        raise every from None
    except BatchRefused as refusal:
        kept = [*reading.rejections, *refusal.rejections]
        raise BatchRefused(str(refusal), kept, source=refusal.source) from None


def release(held: HeldBatch, header: BatchHeader, recipe: Recipe, store: Store, now: datetime) -> dict[str, int]:
    """Keep what is new of a held batch, whatever it does to the history; its counts."""
    with RowSpool() as spool:
        reading = ParsedBatch(source=held.source, recipe=recipe, spool=spool, num_read=held.num_read)
        comparison = BatchDiff(reading, recipe)
        with store.batches.write(header, now) as intake:
            for part in store.batches.held_parts(held):
                intake.register(part.names)
                reading.names = part.names
                change = comparison.compare(
                    part.values, intake.stored_values(part.values, recipe.grid), as_delivered=False
                )
                intake.add(change.new, change.revised)
                intake.add_attributes(part.attributes, part.names)
            intake.finish(comparison.counts, reading.rejections)
    return comparison.counts


def _compared(
    reading: ParsedBatch, header: BatchHeader, store: Store, now: datetime, *, incremental: bool, must_train: bool
) -> dict[str, int]:
    """Compare and load part by part; an error leaves nothing of it."""
    comparison = BatchDiff(reading, reading.recipe)
    with store.batches.write(header, now) as intake:
        intake.register(reading.names)
        tells_all = not (incremental or reading.recipe.source.rolling)
        since = None if tells_all or not len(reading.periods) else reading.periods[0]
        for rows in reading.spool.parts():
            told = comparison.clean(rows)
            known = intake.stored_values(told, reading.recipe.grid, since=since, before=comparison.values_before)
            change = comparison.compare(told, known)
            intake.add(change.new, change.revised)
        if tells_all:
            comparison.guard.num_expected += intake.num_missing_values()
        comparison.refuse_too_many()
        comparison.hold_suspicious(incremental=incremental)
        if must_train and reading.num_read and not incremental:
            require_history(comparison.longest_series, comparison.longest_length, reading.recipe)
        intake.add_attributes(reading.attributes, reading.names)
        intake.finish(comparison.counts, reading.rejections)
    return comparison.counts | {"num_rejected": len(reading.rejections)}


def _parts(reading: ParsedBatch) -> Iterator[HeldPart]:
    """A delivery's values, cleaned once more, to be kept."""
    comparison = BatchDiff(replace(reading, rejections=[]), reading.recipe)
    for n, rows in enumerate(reading.spool.parts()):
        yield HeldPart(
            names=reading.names, values=comparison.clean(rows), attributes=reading.attributes if n == 0 else {}
        )
