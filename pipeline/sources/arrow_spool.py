"""Rows of a database driver as Arrow columns: stored in a file until the type of every column is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.sources.columns import empty_chunk, slice_chunks
from pipeline.sources.delivery import Chunk

#: rows that are Python objects at a time
ROWS = 20_000


class ArrowSpool:
    """A file of rows; the type of a column is known when all rows have been written."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self.names = list(names)
        self.types = [pa.null() for _ in names]
        self.num_rows = 0

    def write(self, parts: Iterable[Sequence[Sequence[Any]]]) -> None:
        """Write all rows, given in parts; one part is in memory at a time.

        Raises:
            TypeError: a value is bytes.
        """
        with self.path.open("wb") as file:
            for rows in parts:
                columns = [to_column([row[position] for row in rows]) for position in range(len(self.names))]
                self.types = [
                    common_type(type_so_far, column.type)
                    for type_so_far, column in zip(self.types, columns, strict=True)
                ]
                self.num_rows += len(rows)
                batch = pa.RecordBatch.from_arrays(columns, names=self.names)
                with pa.ipc.new_stream(pa.PythonFile(file, mode="w"), batch.schema) as stream:
                    stream.write_batch(batch)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows; a column has the same type in every batch."""
        types = [pa.string() if pa.types.is_null(column_type) else column_type for column_type in self.types]
        with self.path.open("rb") as file:
            source = pa.PythonFile(file, mode="r")
            num_rows = 0
            while num_rows < self.num_rows:
                (batch,) = pa.ipc.open_stream(source)
                num_rows += batch.num_rows
                columns = [
                    column.cast(column_type, safe=False)
                    for column, column_type in zip(batch.columns, types, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, names=self.names)

    def chunks(self, leave_out: str | None = None) -> Iterator[Chunk]:
        """Yield the rows in chunks, numbered from 1, without the column `leave_out`."""
        next_line = 1
        positions = [position for position, name in enumerate(self.names) if name != leave_out]
        for batch in self.batches():
            yield from slice_chunks(batch.select(positions), next_line)
            next_line += batch.num_rows
        if next_line == 1:
            yield empty_chunk(pa.field(self.names[position], pa.string()) for position in positions)


def to_column(values: Sequence[Any]) -> pa.Array:
    """Return Python values as a column: typed if all are of one kind, otherwise text; None is null."""
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pa.nulls(len(values))
    try:
        column = _typed_column(values, kinds)
    except (OverflowError, pa.ArrowInvalid):
        column = None
    return pa.array([_to_text(value) for value in values], pa.string()) if column is None else column


def _typed_column(values: Sequence[Any], kinds: set[type]) -> pa.Array | None:
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
    return _timestamp_column(values) if kinds == {datetime} else None


def _timestamp_column(values: Sequence[datetime | None]) -> pa.Array | None:
    """Return instants in UTC or local times as a column; None if the values hold both."""
    is_aware = {value.tzinfo is not None for value in values if value is not None}
    if is_aware == {False}:
        return pa.array(values, pa.timestamp("us"))
    if is_aware == {True}:
        in_utc = [None if value is None else value.astimezone(UTC) for value in values]
        return pa.array(in_utc, pa.timestamp("us", "UTC"))
    return None


def _to_text(value: Any) -> str | None:
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


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the type that can hold values of both: text, if they are of different kinds."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    return pa.float64() if {first, second} == {pa.int64(), pa.float64()} else pa.string()


def hash_batches(content_hash: Any, batches: Iterable[pa.RecordBatch]) -> str:
    """Add the types and values of all batches to a hash that was begun, and return it."""
    return str(reduce(_add_batch, batches, content_hash).hexdigest())


def _add_batch(content_hash: Any, batch: pa.RecordBatch) -> Any:
    content_hash.update(str(batch.schema.types).encode())
    content_hash.update(memoryview(batch.serialize()))
    return content_hash
