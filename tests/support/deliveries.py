"""Deliveries made of rows of text, and their comparison with stored values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.config.loader import parse_recipe
from pipeline.config.recipe import Recipe
from pipeline.errors import BatchRefused, Rejection
from pipeline.ingest.changes import BatchDiff
from pipeline.ingest.reader import parse_delivery
from pipeline.sources.delivery import Chunk, Delivery
from pipeline.timeseries.long_values import LongValues, empty_values
from pipeline.timeseries.observations import TARGET
from tests.support.examples import NOW, SMALL_RECIPE

#: series, period to the minute, and the variable if it is not the target
Key = tuple[str, ...]


def recipe_of(source: str = "", *, top: str = "", frequency: str = "MS", rest: str = "") -> Recipe:
    """The small recipe with more in its table of the source, and `top` and `rest` around it."""
    text = f"{top}\n{SMALL_RECIPE.format(source=source)}\n{rest}".replace('"MS"', f'"{frequency}"')
    if 'layout = "wide"' in source:
        text = text.replace('value = "sold"\n', "")
    return parse_recipe(text, where="small.toml", folder=Path())


def delivery_of(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str] = ("month", "sold", "shop"),
    *,
    ended: bool = True,
    incremental: bool = False,
    chunk_rows: int = 1_000_000,
    content_hash: str = "any",
    rejections: Sequence[Rejection] = (),
    types: Sequence[pa.DataType] = (),
) -> Delivery:
    """Rows on the lines after a header; a column that no row has is left out."""
    width = max((len(row) for row in rows), default=len(columns))
    names = columns[:width]
    types = types or [pa.string()] * width

    def chunks() -> list[Chunk]:
        made = []
        for start in range(0, max(len(rows), 1), chunk_rows):
            part = rows[start : start + chunk_rows]
            arrays = [pa.array([row[n] for row in part], types[n]) for n in range(len(names))]
            line = np.arange(start + 2, start + 2 + len(part))
            batch = pa.RecordBatch.from_arrays(arrays, names=list(names))
            made.append(Chunk(columns=batch, line=line, rejections=tuple(rejections) if start == 0 else ()))
        return made

    return Delivery(source="small.csv", content_hash=content_hash, chunks=chunks, ended=ended, incremental=incremental)


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What an accepted delivery adds."""

    #: values by series and period, and by variable where that is not the target
    new: dict[Key, float]
    revised: dict[Key, float]
    rejections: tuple[Rejection, ...]
    num_read: int
    num_same: int
    attributes: dict[tuple[str, str], str]
    #: name and length
    longest: tuple[str, int]

    @property
    def values(self) -> list[float]:
        """The new values, in order."""
        return [self.new[key] for key in sorted(self.new)]

    @property
    def periods(self) -> list[str]:
        """The periods of new values, in order."""
        return sorted({key[1] for key in self.new})


def ingest_delivery(
    delivery: Delivery,
    recipe: Recipe,
    stored: Mapping[Key, float] | None = None,
    *,
    now: datetime = NOW,
    **limits: int,
) -> Ingested:
    """Read a delivery and compare it with the stored values, as the job does; `limits` are those of `parse_delivery`.

    Raises:
        BatchRefused: as the job does, with all rejected rows.
    """
    stored = stored or {}
    with parse_delivery(delivery, recipe, now=now, **limits) as batch:
        diff = BatchDiff(batch)
        if not recipe.source.rolling:
            delivered_keys = {(name, variable) if variable else (name,) for name, variable in batch.names}
            missing = Counter(
                (key[0], key[2] if len(key) > 2 else TARGET)
                for key in stored
                if (key[0], *key[2:]) not in delivered_keys
            )
            diff.history.expect_series(missing)
        new: dict[Key, float] = {}
        revised: dict[Key, float] = {}
        try:
            for rows in batch.spool.parts():
                delivered = diff.clean(rows)
                change = diff.compare(delivered, _stored_values(stored, delivered, batch.names))
                new |= by_key(change.new, batch.names)
                revised |= by_key(change.revised, batch.names)
            diff.refuse_faulty()
            diff.hold_suspicious()
        except BatchRefused as refusal:
            kept = [*batch.rejections, *refusal.rejections]
            raise type(refusal)(str(refusal), kept, source=refusal.source) from None
        return Ingested(
            new=new,
            revised=revised,
            rejections=tuple(batch.rejections),
            num_read=batch.num_read,
            num_same=diff.counts.num_same,
            attributes=dict(batch.attributes),
            longest=(diff.longest.name, diff.longest.length),
        )


def refusal(
    delivery: Delivery, recipe: Recipe, stored: Mapping[Key, float] | None = None, **limits: int
) -> BatchRefused:
    """The error that a delivery ends in where the recipe is strict."""
    with pytest.raises(BatchRefused) as refused:
        ingest_delivery(delivery, strict(recipe), stored, **limits)
    message = str(refused.value)
    assert message.isprintable(), message
    return refused.value


def strict(recipe: Recipe) -> Recipe:
    """The recipe with a strict source; keys that it names stay."""
    defaults = {"strict": True, "missing": "reject", "max_rejected": 0.0}
    named = recipe.source.model_dump(include=recipe.source.model_fields_set)
    return recipe.model_copy(update={"source": recipe.source.model_copy(update=defaults | named)})


def by_key(values: LongValues, names: Sequence[tuple[str, str]]) -> dict[Key, float]:
    """Values by series and period, and by variable where that is not the target."""
    return {
        (names[s][0], str(period)[:16], *([] if names[s][1] == TARGET else [names[s][1]])): float(value)
        for s, period, value in zip(values.series, values.period, values.value, strict=True)
    }


def _stored_values(stored: Mapping[Key, float], delivered: LongValues, names: Sequence[tuple[str, str]]) -> LongValues:
    """The stored values of the delivered series, as the store returns them."""
    numbers = {names[n]: int(n) for n in np.unique(delivered.series)}
    rows = sorted(
        (numbers[key[0], key[2] if len(key) > 2 else TARGET], np.datetime64(key[1], "us"), value)
        for key, value in stored.items()
        if (key[0], key[2] if len(key) > 2 else TARGET) in numbers
    )
    if not rows:
        return empty_values()
    series, period, value = zip(*rows, strict=True)
    return LongValues(np.array(series, np.int64), np.array(period, "datetime64[us]"), np.array(value, np.float64))
