"""Rows of another library on their way into columns: kept in a file until all of them are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.sources.columns import nothing, sliced
from pipeline.sources.delivery import Chunk

#: rows that are Python objects at a time
ROWS = 20_000


class ArrowSpool:
    """A file of rows; the type of a column is known when all have been added."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = list(names)
        self.types = [pa.null() for _ in names]
        self.num_rows = 0

    def add(self, parts: Iterable[Sequence[Sequence[Any]]]) -> None:
        """Write parts of rows; a part is at once in memory.

        Raises:
            TypeError: a value is neither text, number, date nor instant.
        """
        with self.path.open("wb") as file:
            for rows in parts:
                columns = [column_of([row[position] for row in rows]) for position in range(len(self.names))]
                self.types = [common(known, column.type) for known, column in zip(self.types, columns, strict=True)]
                self.num_rows += len(rows)
                batch = pa.RecordBatch.from_arrays(columns, names=self.names)
                with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), batch.schema) as stream:
                    stream.write_batch(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows with one type a column."""
        types = [pa.string() if pa.types.is_null(one) else one for one in self.types]
        with self.path.open("rb") as file:
            source = pa.PythonFile(file, mode="r")
            num_rows = 0
            while num_rows < self.num_rows:
                (batch,) = pa.ipc.open_stream(source)
                num_rows += batch.num_rows
                columns = [column.cast(one, safe=False) for column, one in zip(batch.columns, types, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, names=self.names)

    def chunks(self, leave_out: str | None = None) -> Iterator[Chunk]:
        """The rows, numbered from 1, without one column."""
        line = 1
        kept = [position for position, name in enumerate(self.names) if name != leave_out]
        for batch in self.batches():
            yield from sliced(batch.select(kept), line)
            line += batch.num_rows
        if line == 1:
            yield nothing(pa.field(self.names[position], pa.string()) for position in kept)


def column_of(values: Sequence[Any]) -> pa.Array:
    """Values of Python as a column: typed where all are of one kind, else as text; None is null."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    try:
        found = _typed(values, kinds)
    except (OverflowError, pa.ArrowInvalid):
        found = None
    return pa.array([_text(value) for value in values], pa.string()) if found is None else found


def _typed(values: Sequence[Any], kinds: set[type]) -> pa.Array | None:
    if kinds == {str}:
        return pa.array(values, pa.string())
    if kinds == {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64(), from_pandas=False)
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    if kinds == {date}:
        return pa.array(values, pa.date32())
    if kinds == {datetime}:
        aware = {value.tzinfo is not None for value in values if value is not None}
        if aware == {False}:
            return pa.array(values, pa.timestamp("us"))
        if aware == {True}:
            utc = [None if value is None else value.astimezone(UTC) for value in values]
            return pa.array(utc, pa.timestamp("us", "UTC"))
    return None


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal) and value.is_finite():
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes")
    return str(value)


def common(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The type that can hold both: text where they differ in kind."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def hash_rows(content: Any, batches: Iterable[pa.RecordBatch]) -> str:
    """The hash of what the batches hold, added to one that knows the settings."""
    return str(reduce(_hash_batch, batches, content).hexdigest())


def _hash_batch(content: Any, batch: pa.RecordBatch) -> Any:
    content.update(str(batch.schema.types).encode())
    content.update(memoryview(batch.serialize()))
    return content
