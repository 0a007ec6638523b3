"""Ingest what a source delivers, or accept the batch on hold."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.config.recipe import Recipe
from pipeline.errors import (
    BatchHeld,
    BatchRefused,
    NotEnoughHistory,
    NothingHeld,
)
from pipeline.ingest.reader import parse_delivery
from pipeline.jobs.batch_ingest import release, take_in
from pipeline.sources.registry import fetch
from pipeline.storage.batches import BatchHeader
from pipeline.storage.store import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestResult:
    """What a source brought."""

    source: str
    num_read: int = 0
    num_new: int = 0
    num_revised: int = 0
    num_same: int = 0
    num_rejected: int = 0


def ingest_source(recipe: Recipe, store: Store, now: datetime, *, must_train: bool = False) -> IngestResult:
    """Take in what the recipe's source has; nothing if it is what was taken in last.

    Args:
        recipe: which source, and what is expected of it.
        store: where observations are kept.
        now: the clock.
        must_train: refuse a history on which nothing can be trained, before anything of it is kept.

    Raises:
        BatchRefused: the source is faulty; what was refused is kept with its place and rule.
        BatchHeld: the source is not what it was; the batch is kept until a person lets it in.
        NotEnoughHistory: with `must_train`, every series is too short.
    """
    header = BatchHeader(recipe=recipe.name, source=recipe.source.kind, content_hash="")
    earlier = store.batches.fetch_context(recipe.name, now)
    try:
        with fetch(recipe, earlier) as delivery:
            header = replace(header, source=delivery.source, content_hash=delivery.content_hash, state=delivery.state)
            if delivery.content_hash == earlier.content_hash:
                logger.info("%s is what was taken in last", delivery.source)
                return IngestResult(source=delivery.source)
            with parse_delivery(delivery, recipe, now=now) as reading:
                counts = take_in(reading, header, store, now, incremental=delivery.incremental, must_train=must_train)
            taken = IngestResult(source=delivery.source, **counts)
        if not delivery.ended:
            logger.info("%s ends without a newline; its last row was taken as complete", delivery.source)
    except BatchHeld:
        raise
    except BatchRefused as refusal:
        store.batches.refuse(replace(header, source=refusal.source), str(refusal), refusal.rejections, now)
        raise
    except NotEnoughHistory as refusal:
        store.batches.refuse(header, str(refusal), [], now)
        raise
    _tell(taken)
    return taken


def approve_batch(recipe: Recipe, store: Store, now: datetime) -> IngestResult:
    """Take in the batch that is held, as it was delivered.

    Raises:
        NothingHeld: no batch waits.
    """
    held = store.batches.held(recipe.name)
    if held is None:
        raise NothingHeld(f"no batch of {recipe.name} is held: nothing is there to approve")
    header = BatchHeader(
        recipe=recipe.name,
        source=held.source,
        content_hash=held.content_hash,
        state=held.state,
        releases=held.batch_id,
    )
    counts = release(held, header, recipe, store, now)
    taken = IngestResult(source=held.source, **counts)
    _tell(taken)
    return taken


def _tell(taken: IngestResult) -> None:
    logger.info(
        "%s: %s new, %s revised, %s the same, %s refused",
        taken.source,
        taken.num_new,
        taken.num_revised,
        taken.num_same,
        taken.num_rejected,
    )
